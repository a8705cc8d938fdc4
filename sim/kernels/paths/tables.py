"""Look-ups in place of multiplications, in 256 bits (look_ups.py): vpshufb, 32 outputs of a pixel at a time."""

from __future__ import annotations

from llvmlite import ir
from numba import types

from ..compiling import intrinsic
from ..pointers import int64s
from .loops import INT8, INT16, INT32, INT64, broadcast, call, int64_at
from .path import ROW, Kernel

_AT_ONCE = 4
"""Pixels whose sums registers hold; and groups of four messages whose sums, up to 60 each, 8 bits hold."""
_BYTES, _SHORTS = ir.VectorType(INT8, 32), ir.VectorType(INT16, 16)


def look_ups_in_256_bits() -> Kernel:
    one, two = _make_look_up(1), _make_look_up(2)

    def look_up(
        path, planes, source, count, fresh, tables, offsets, runs, run_count, run_bytes, weights, whole, sums, pixels
    ):
        if fresh:
            _subset_sums(source, count, tables)
            if planes == 1:
                _patch_sums(source, offsets, runs, run_count, run_bytes, whole, pixels)
        base = tables - 4 * int64s(offsets)[0]
        for i in range(0, pixels, _AT_ONCE):
            at, all_, to = offsets + 8 * i, whole + 4 * i, sums + ROW * i
            if planes == 1:
                one(base, at, runs, run_count, run_bytes, weights, all_, to)
            else:
                two(base, at, runs, run_count, run_bytes, weights, all_, to)

    return look_up


@intrinsic
def _subset_sums(typing_context, source, count, tables):
    """Tables of `count` messages, a multiple of 16: of each four, entry e is the sum of those whose bit of e is set."""

    def generate(context, builder, signature, args):
        b, (source, count, tables) = builder, args

        def body(index, carried):
            at = b.shl(index, INT64(3))
            eight = b.load(_pointer(b, b.add(source, at), INT64), align=1)
            both = ir.Constant(ir.VectorType(INT64, 4), ir.Undefined)
            for lane in range(4):
                both = b.insert_element(both, eight, INT32(lane))
            parts = [_shuffled(b, b.bitcast(both, _BYTES), ir.Constant(_BYTES, _picked(j))) for j in range(4)]
            result = b.add(b.add(parts[0], parts[1]), b.add(parts[2], parts[3]))
            b.store(result, _pointer(b, b.add(tables, b.shl(at, INT64(2))), _BYTES), align=1)
            return []

        _loop(b, b.lshr(count, INT64(3)), [], body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


def _picked(j):
    """Where entries of two tables take message j from, of eight; 0x80 gives 0."""
    return [4 * (e // 16) + j if e >> j & 1 else 0x80 for e in range(32)]


@intrinsic
def _patch_sums(typing_context, source, offsets, runs, run_count, run_bytes, whole, pixels):
    """Sums of all messages of each pixel's patch, 32 bits each; `source` is where the first pixel's patch is."""

    def generate(context, builder, signature, args):
        b, (source, offsets, runs, run_count, run_bytes, whole, pixels) = builder, args
        pair = ir.VectorType(INT64, 2)
        first = int64_at(b, offsets, INT64(0))

        def of_pixel(i, carried):
            start = b.add(source, b.sub(int64_at(b, offsets, i), first))

            def of_run(run, sums):
                begin = b.add(start, int64_at(b, runs, run))

                def of_bytes(index, sums):
                    kind = ir.VectorType(INT8, 16)
                    sixteen = b.load(_pointer(b, b.add(begin, b.shl(index, INT64(4))), kind), align=1)
                    none = ir.Constant(kind, [0] * 16)
                    return [b.add(sums[0], call(b, "llvm.x86.sse2.psad.bw", pair, sixteen, none))]

                return _loop(b, b.lshr(run_bytes, INT64(4)), sums, of_bytes)

            (both,) = _loop(b, run_count, [ir.Constant(pair, [0, 0])], of_run)
            total = b.add(*(b.extract_element(both, INT32(lane)) for lane in (0, 1)))
            b.store(b.trunc(total, INT32), _pointer(b, b.add(whole, b.shl(i, INT64(2))), INT32))
            return []

        _loop(b, pixels, [], of_pixel)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


def _make_look_up(planes):
    """An intrinsic: sums of _AT_ONCE pixels x 32 outputs.

    Arguments, all int64: addresses of the table at offset 0 and of the pixels' offsets; address and
    number of the runs' offsets; bytes of a run; addresses of the weights, of the sums of all messages, of the sums.
    """

    @intrinsic
    def look_up(typing_context, tables, offsets, runs, run_count, run_bytes, weights, whole, sums):
        def generate(context, builder, signature, args):
            _generate(builder, planes, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return look_up


def _generate(b, planes, tables, offsets, runs, run_count, run_bytes, weights, whole, sums):
    starts = [b.add(tables, b.shl(int64_at(b, offsets, INT64(i)), INT64(2))) for i in range(_AT_ONCE)]
    none = ir.Constant(_SHORTS, [0] * 16)

    def of_run(run, carried):
        offset = b.shl(int64_at(b, runs, run), INT64(2))
        places = [b.add(start, offset) for start in starts]
        return _loop(b, b.lshr(run_bytes, INT64(4)), carried, lambda i, c: of_groups(places, i, c))

    def of_groups(places, index, carried):
        row, updated = carried[0], []
        for i, place in enumerate(places):
            low, high = carried[1 + 2 * i : 3 + 2 * i]
            at = b.add(place, b.shl(index, INT64(6)))
            found = [_table(b, b.add(at, INT64(16 * g))) for g in range(4)]
            for plane in range(planes):
                parts = [
                    _shuffled(b, table, b.load(_pointer(b, b.add(row, INT64(32 * (4 * plane + g))), _BYTES), align=1))
                    for g, table in enumerate(found)
                ]
                four = b.bitcast(b.add(b.add(parts[0], parts[1]), b.add(parts[2], parts[3])), _SHORTS)
                odd = b.lshr(four, ir.Constant(_SHORTS, [8] * 16))
                change = b.sub if plane else b.add
                low, high = change(low, four), change(high, odd)
            updated += [low, high]
        return [b.add(row, INT64(planes * ROW)), *updated]

    _, *both = _loop(b, run_count, [weights, *[none] * (2 * _AT_ONCE)], of_run)
    wide = ir.VectorType(INT32, 16)
    for i in range(_AT_ONCE):
        low, high = both[2 * i : 2 * i + 2]
        even = b.sub(low, b.shl(high, ir.Constant(_SHORTS, [8] * 16)))
        for side, half in enumerate((even, high)):
            if planes == 2:
                value = b.sext(half, wide)
            else:  # +1 and -1: twice the sum of what +1 meets, less the sum of all
                all_ = b.load(_pointer(b, b.add(whole, INT64(4 * i)), INT32))
                value = b.sub(b.shl(b.zext(half, wide), ir.Constant(wide, [1] * 16)), broadcast(b, all_, 16))
            b.store(value, _pointer(b, b.add(sums, INT64(ROW * i + ROW // 2 * side)), wide), align=4)


def _table(b, address):
    """Sixteen bytes, twice."""
    kind = ir.VectorType(INT8, 16)
    table = b.load(_pointer(b, address, kind), align=1)
    twice = ir.Constant(ir.VectorType(INT32, 32), [*range(16)] * 2)
    return b.shuffle_vector(table, ir.Constant(kind, ir.Undefined), twice)


def _shuffled(b, table, index):
    return call(b, "llvm.x86.avx2.pshuf.b", _BYTES, table, index)


def _pointer(b, address, kind):
    return b.inttoptr(address, kind.as_pointer())


def _loop(b, count, carried, body):
    """`carried` after body(index, carried) -> carried for index 0 to count - 1; count is at least 1."""
    before, head, done = b.block, b.append_basic_block("loop"), b.append_basic_block("done")
    b.branch(head)
    b.position_at_end(head)
    index, phis = b.phi(INT64), [b.phi(value.type) for value in carried]
    results = body(index, phis)
    following = b.add(index, INT64(1))
    for phi, first, after in zip([index, *phis], [INT64(0), *carried], [following, *results], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(after, b.block)
    b.cbranch(b.icmp_signed("<", following, count), head, done)
    b.position_at_end(done)
    return results
