"""Dot products of patches with weights: the inner loop of every convolution and linear layer.

One call makes the accumulators of a few pixels x 32 output channels, all held in registers. A patch is a few
contiguous runs of the source; per step of the loop, four bytes of every pixel's patch (four 8-bit or two 16-bit
messages) are broadcast and meet the weights of 32 channels.

`Vnni512` emits the processor's own dot-product instructions, through LLVM; `Portable` says the same in generic
vector operations. A path is a type of its own, so that compiled code of both is kept on disk side by side.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import overload

from .compiling import intrinsic
from .lanes import VECTOR, WIDTH

QUADS, PAIRS, BYTE_PAIRS = 1, 2, 3
"""How a convolution's patch meets its weights: 4 unsigned bytes with 4 signed ones; 2 signed 16-bit with 2; 2 unsigned
bytes, widened, with 2 signed 16-bit."""
OUTPUTS = 32
"""Output channels of one call: two vectors."""
ENVIRONMENT = "HMDF_KERNELS"
_INT8, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


class Vnni512(NamedTuple):
    """AVX-512 with VNNI. The field is there because compiled code needs one."""

    pixels: int = 8


class Portable(NamedTuple):
    """Whatever LLVM makes of it. The field is there because compiled code needs one."""

    pixels: int = 2


Path = Vnni512 | Portable


def choose_path() -> Path:
    """The fastest path of this processor; `HMDF_KERNELS=portable` forces the other."""
    wanted = os.environ.get(ENVIRONMENT, "")
    if wanted == "portable":
        return Portable()
    features = llvm.get_host_cpu_features()
    return Vnni512() if features.get("avx512vnni") and features.get("avx512bw") else Portable()


def dot_kind(path: Path, bytes_: bool) -> int:
    """How `path` handles a source of unsigned bytes, or else of 16-bit messages."""
    if not bytes_:
        return PAIRS
    return QUADS if isinstance(path, Vnni512) else BYTE_PAIRS


def _emit_quads(builder, accumulator, inputs, weights):
    return _call(builder, "llvm.x86.avx512.vpdpbusd.512", accumulator, inputs, weights)


def _emit_pairs_vnni(builder, accumulator, inputs, weights):
    return _call(builder, "llvm.x86.avx512.vpdpwssd.512", accumulator, inputs, weights)


def _emit_pairs(builder, accumulator, inputs, weights):
    """Generic: LLVM recognises a multiply-add of neighbouring 16-bit integers where the processor has one."""
    shorts, wide = ir.VectorType(_INT16, 2 * WIDTH), ir.VectorType(_INT32, 2 * WIDTH)
    a = builder.sext(builder.bitcast(inputs, shorts), wide)
    b = builder.sext(builder.bitcast(weights, shorts), wide)
    products = builder.mul(a, b)
    undefined = ir.Constant(wide, ir.Undefined)
    even, odd = (
        builder.shuffle_vector(products, undefined, ir.Constant(VECTOR, [2 * i + first for i in range(WIDTH)]))
        for first in (0, 1)
    )
    return builder.add(accumulator, builder.add(even, odd))


def _call(builder, name, *vectors):
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name)
    return builder.call(function, vectors)


def _read_four_bytes(builder, pointer, position):
    """Four bytes of a patch at byte 4 * position."""
    return _load_integer(builder, pointer, builder.shl(position, ir.Constant(_INT64, 2)), _INT32)


def _read_two_bytes(builder, pointer, position):
    """Two bytes of a patch at byte 2 * position, each widened to 16 bits."""
    two = _load_integer(builder, pointer, builder.shl(position, ir.Constant(_INT64, 1)), _INT16)
    apart = builder.zext(two, _INT32)
    apart = builder.or_(apart, builder.shl(apart, ir.Constant(_INT32, 8)))
    return builder.and_(apart, ir.Constant(_INT32, 0x00FF00FF))


def _load_integer(builder, pointer, offset, kind):
    value = builder.load(builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer()))
    value.align = 1
    return value


def _make_dot(pixels, read, emit, position_bytes):
    """An intrinsic: accumulators of `pixels` pixels x OUTPUTS channels.

    Arguments, all int64: address of the source's first message of the step; address of the pixels' offsets; address
    and number of the runs' offsets; bytes of a run; address of the weights; address of the accumulators (32-bit,
    OUTPUTS per pixel). Offsets count elements of `element_bytes`.
    """
    vectors = OUTPUTS // WIDTH

    @intrinsic
    def dot(typing_context, source, offsets, runs, run_count, run_bytes, weights, accumulators, element_bytes):
        def generate(context, builder, signature, args):
            _Loops(builder, pixels, vectors, read, emit, position_bytes).generate(*args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return dot


class _Loops:
    """Two loops, over runs and over positions within a run, with all accumulators carried in registers."""

    def __init__(self, builder, pixels, vectors, read, emit, position_bytes):
        self.builder, self.pixels, self.vectors = builder, pixels, vectors
        self.read, self.emit, self.position_bytes = read, emit, position_bytes

    def generate(self, source, offsets, runs, run_count, run_bytes, weights, accumulators, element_bytes):
        b, zero = self.builder, ir.Constant(_INT64, 0)
        entry = b.block
        over_runs, over_positions, run_done, done = (
            b.append_basic_block(n) for n in ("runs", "positions", "run_done", "done")
        )
        starts = [b.add(source, b.mul(self.int64_at(offsets, i), element_bytes)) for i in range(self.pixels)]
        positions = b.udiv(run_bytes, ir.Constant(_INT64, self.position_bytes))
        b.branch(over_runs)

        b.position_at_end(over_runs)
        run = self.phi(_INT64, entry, zero)
        weight_of_run = self.phi(_INT64, entry, weights)
        sums = [self.phi(VECTOR, entry, ir.Constant(VECTOR, [0] * WIDTH)) for _ in range(self.pixels * self.vectors)]
        offset = b.mul(self.int64_at(runs, run), element_bytes)
        pointers = [b.inttoptr(b.add(start, offset), _INT8.as_pointer()) for start in starts]
        b.branch(over_positions)

        b.position_at_end(over_positions)
        position = self.phi(_INT64, over_runs, zero)
        weight = self.phi(_INT64, over_runs, weight_of_run)
        partial = [self.phi(VECTOR, over_runs, s) for s in sums]
        updated = self.update(pointers, position, weight, partial)
        next_weight = b.add(weight, ir.Constant(_INT64, 64 * self.vectors))
        next_position = b.add(position, ir.Constant(_INT64, 1))
        for phi, value in zip([position, weight, *partial], [next_position, next_weight, *updated], strict=True):
            phi.add_incoming(value, over_positions)
        b.cbranch(b.icmp_signed("<", next_position, positions), over_positions, run_done)

        b.position_at_end(run_done)
        next_run = b.add(run, ir.Constant(_INT64, 1))
        for phi, value in zip([run, weight_of_run, *sums], [next_run, next_weight, *updated], strict=True):
            phi.add_incoming(value, run_done)
        b.cbranch(b.icmp_signed("<", next_run, run_count), over_runs, done)

        b.position_at_end(done)
        target = b.inttoptr(accumulators, VECTOR.as_pointer())
        for i, value in enumerate(updated):
            b.store(value, b.gep(target, [ir.Constant(_INT64, i)]), align=4)

    def update(self, pointers, position, weight, sums):
        b = self.builder
        at = b.inttoptr(weight, VECTOR.as_pointer())
        rows = []
        for v in range(self.vectors):
            rows.append(b.load(b.gep(at, [ir.Constant(_INT64, v)])))
            rows[-1].align = 4
        updated = []
        for i, pointer in enumerate(pointers):
            scalar = self.read(b, pointer, position)
            inputs = _broadcast(b, scalar)
            updated += [self.emit(b, sums[i * self.vectors + v], inputs, rows[v]) for v in range(self.vectors)]
        return updated

    def phi(self, kind, block, value):
        phi = self.builder.phi(kind)
        phi.add_incoming(value, block)
        return phi

    def int64_at(self, address_, index):
        pointer = self.builder.inttoptr(address_, _INT64.as_pointer())
        index = ir.Constant(_INT64, index) if isinstance(index, int) else index
        return self.builder.load(self.builder.gep(pointer, [index]))


_quads_8, _quads_2 = (_make_dot(n, _read_four_bytes, _emit_quads, 4) for n in (8, 2))
_pairs_8, _pairs_2 = (_make_dot(n, _read_four_bytes, _emit_pairs_vnni, 4) for n in (8, 2))
_portable_pairs = _make_dot(2, _read_four_bytes, _emit_pairs, 4)
_portable_byte_pairs = _make_dot(2, _read_two_bytes, _emit_pairs, 2)


def dot_tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, accumulators, pixels, element_bytes):
    """Accumulators of `pixels` pixels; whole groups of pixels are computed, so offsets and accumulators are padded."""
    raise NotImplementedError("only compiled code calls this")


@overload(dot_tile)
def _dot_tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, accumulators, pixels, element_bytes):
    if path.instance_class is Vnni512:

        def on_vnni(
            path, kind, source, offsets, runs, run_count, run_bytes, weights, accumulators, pixels, element_bytes
        ):  # fmt: skip
            i = 0
            while i < pixels:
                at, to = offsets + 8 * i, accumulators + 4 * OUTPUTS * i
                if pixels - i > 2:
                    if kind == QUADS:
                        _quads_8(source, at, runs, run_count, run_bytes, weights, to, element_bytes)
                    else:
                        _pairs_8(source, at, runs, run_count, run_bytes, weights, to, element_bytes)
                    i += 8
                else:
                    if kind == QUADS:
                        _quads_2(source, at, runs, run_count, run_bytes, weights, to, element_bytes)
                    else:
                        _pairs_2(source, at, runs, run_count, run_bytes, weights, to, element_bytes)
                    i += 2

        return on_vnni

    def on_any(path, kind, source, offsets, runs, run_count, run_bytes, weights, accumulators, pixels, element_bytes):
        for i in range(0, pixels, 2):
            at, to = offsets + 8 * i, accumulators + 4 * OUTPUTS * i
            if kind == BYTE_PAIRS:
                _portable_byte_pairs(source, at, runs, run_count, run_bytes, weights, to, element_bytes)
            else:
                _portable_pairs(source, at, runs, run_count, run_bytes, weights, to, element_bytes)

    return on_any


# --------------------------------------------------------------------------------- events


def _make_add_events(emit_quad):
    """An intrinsic: accumulators of one pixel += values x weights, for a stretch of a list of events.py.

    Arguments, all int64: address of the first event, number of events (at least one), address of the weights of
    quad 0, address of the accumulators. Two events are in flight at once, with accumulators of their own:

        entry ──(two or more)──> pairs ⟲ ──> rest ──(one is left)──> one ──> done
          └────────────(one)────────────────> ┘└───────(none)────────────────> ┘

    `pairs` carries both sets of accumulators, `rest` adds them up, `done` stores them.
    """
    vectors = OUTPUTS // WIDTH

    @intrinsic
    def add(typing_context, events, count, weights, accumulators):
        def generate(context, builder, signature, args):
            events, count, weights, accumulators = args
            b, zero = builder, ir.Constant(_INT64, 0)
            list_ = b.inttoptr(events, _INT32.as_pointer())
            target = b.inttoptr(accumulators, VECTOR.as_pointer())
            places = [b.gep(target, [ir.Constant(_INT64, v)]) for v in range(vectors)]
            olds = [b.load(place, align=4) for place in places]
            entry, pairs, rest, one, done = (
                b.block,
                *(b.append_basic_block(n) for n in ("pairs", "rest", "one", "done")),
            )
            none = ir.Constant(VECTOR, [0] * WIDTH)
            two_or_more = b.icmp_signed(">=", count, ir.Constant(_INT64, 2))
            b.cbranch(two_or_more, pairs, rest)

            b.position_at_end(pairs)
            index = b.phi(_INT64)
            index.add_incoming(zero, entry)
            sums = [b.phi(VECTOR) for _ in range(2 * vectors)]
            for phi, value in zip(sums, olds + [none] * vectors, strict=True):
                phi.add_incoming(value, entry)
            updated = []
            for event in (0, 1):
                updated += _one_event(b, list_, b.add(index, ir.Constant(_INT64, event)), weights,
                                      sums[event * vectors : (event + 1) * vectors], emit_quad)  # fmt: skip
            following = b.add(index, ir.Constant(_INT64, 2))
            index.add_incoming(following, pairs)
            for phi, value in zip(sums, updated, strict=True):
                phi.add_incoming(value, pairs)
            b.cbranch(b.icmp_signed("<=", b.add(following, ir.Constant(_INT64, 2)), count), pairs, rest)

            b.position_at_end(rest)
            at = b.phi(_INT64)
            at.add_incoming(zero, entry)
            at.add_incoming(following, pairs)
            both = [b.phi(VECTOR) for _ in range(2 * vectors)]
            for phi, before, after in zip(both, olds + [none] * vectors, updated, strict=True):
                phi.add_incoming(before, entry)
                phi.add_incoming(after, pairs)
            merged = [b.add(both[v], both[vectors + v]) for v in range(vectors)]
            b.cbranch(b.icmp_signed("<", at, count), one, done)

            b.position_at_end(one)
            last = _one_event(b, list_, at, weights, merged, emit_quad)
            b.branch(done)

            b.position_at_end(done)
            for v in range(vectors):
                result = b.phi(VECTOR)
                result.add_incoming(merged[v], rest)
                result.add_incoming(last[v], one)
                both[v] = result
            for place, value in zip(places, both, strict=False):
                b.store(value, place, align=4)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return add


def _one_event(builder, list_, index, weights, sums, emit_quad):
    """An event is two 32-bit integers: where its weights are, in bytes, and four messages."""
    first = builder.shl(index, ir.Constant(_INT64, 1))
    offset = builder.zext(builder.load(builder.gep(list_, [first])), _INT64)
    quad = builder.load(builder.gep(list_, [builder.or_(first, ir.Constant(_INT64, 1))]))
    return emit_quad(builder, quad, builder.inttoptr(builder.add(weights, offset), VECTOR.as_pointer()), sums)


def _broadcast(builder, scalar):
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(VECTOR, [0] * WIDTH))


def _row_at(builder, row, index):
    return builder.load(builder.gep(row, [ir.Constant(_INT64, index)]), align=4)


def _quad_of_bytes(builder, quad, row, sums):
    inputs = _broadcast(builder, quad)
    return [_emit_quads(builder, s, inputs, _row_at(builder, row, v)) for v, s in enumerate(sums)]


def _quad_of_pairs(builder, quad, row, sums):
    """Two pairs, one after the other, as BYTE_PAIRS keeps their weights."""
    for half in (0, 1):
        pair = builder.and_(builder.lshr(quad, ir.Constant(_INT32, 16 * half)), ir.Constant(_INT32, 0xFFFF))
        apart = builder.or_(pair, builder.shl(pair, ir.Constant(_INT32, 8)))
        inputs = _broadcast(builder, builder.and_(apart, ir.Constant(_INT32, 0x00FF00FF)))
        first = half * len(sums)
        sums = [_emit_pairs(builder, s, inputs, _row_at(builder, row, first + v)) for v, s in enumerate(sums)]
    return sums


_add_quads = _make_add_events(_quad_of_bytes)
_add_pairs = _make_add_events(_quad_of_pairs)


def add_events(path, events, count, weights, accumulators):
    """Accumulators of one pixel += the values of `count` events x their weights."""
    raise NotImplementedError("only compiled code calls this")


@overload(add_events)
def _overload_add_events(path, events, count, weights, accumulators):
    if path.instance_class is Vnni512:
        return lambda path, events, count, weights, accumulators: _add_quads(events, count, weights, accumulators)
    return lambda path, events, count, weights, accumulators: _add_pairs(events, count, weights, accumulators)
