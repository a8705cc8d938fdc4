"""Dot products of patches with weights: the inner loop of every convolution and linear layer.

One call makes the accumulators of a few pixels x 32 output channels, all held in registers. A patch is a few
contiguous runs of the source; per step of the loop, four bytes of every pixel's patch (four 8-bit or two 16-bit
messages) are broadcast and meet the weights of 32 channels.

`Vnni512` and `Avx2` emit the processor's own instructions, through LLVM; `Portable` says the same in generic vector
operations. A path is a type of its own, so that compiled code of each is kept on disk beside the others'.

AVX2 has no dot product of bytes: `vpmaddubsw` makes 16-bit sums of two products. Where the messages and weights are so
small that the sums of a whole run (a row of the kernel), or of a whole patch, fit 16 bits, they are added up there, in
half the instructions, and widened once.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import overload

from ..errors import InputError
from .compiling import intrinsic
from .lanes import VECTOR, WIDTH

QUADS, PAIRS, BYTE_PAIRS, QUADS_OF_RUN, QUADS_OF_PATCH = 1, 2, 3, 4, 5
"""How a convolution's patch meets its weights: 4 unsigned bytes with 4 signed ones; 2 signed 16-bit with 2; 2 unsigned
bytes, widened, with 2 signed 16-bit; as QUADS, in 16-bit sums that are widened after each run, or after the patch."""
OUTPUTS = 32
"""Output channels of one call: two vectors."""
ENVIRONMENT = "HMDF_KERNELS"
_INT8, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_LARGEST_16 = (1 << 15) - 1
_BYTES_256, _SHORTS_256, _INTS_256 = ir.VectorType(_INT8, 32), ir.VectorType(_INT16, 16), ir.VectorType(_INT32, 8)


class Vnni512(NamedTuple):
    """AVX-512 with VNNI. The field is there because compiled code needs one."""

    pixels: int = 8


class Portable(NamedTuple):
    """Whatever LLVM makes of it. The field is there because compiled code needs one."""

    pixels: int = 2


class Avx2(NamedTuple):
    """AVX2. The field is there because compiled code needs one."""

    pixels: int = 6


Path = Vnni512 | Avx2 | Portable
PATHS: dict[str, tuple[Path, tuple[str, ...]]] = {
    "vnni512": (Vnni512(), ("avx512vnni", "avx512bw")),
    "avx2": (Avx2(), ("avx2",)),
    "portable": (Portable(), ()),
}
"""By name, fastest first: the path, and what it needs of the processor."""


def paths_here() -> list[str]:
    """Names of the paths that this processor has, fastest first."""
    features = llvm.get_host_cpu_features()
    return [name for name, (_, needs) in PATHS.items() if all(features.get(need) for need in needs)]


def choose_path() -> Path:
    """The fastest path of this processor, or the one that the variable `HMDF_KERNELS` names.

    Raises:
        InputError: there is no path of that name, or this processor lacks it.
    """
    have, wanted = paths_here(), os.environ.get(ENVIRONMENT, "")
    if wanted and wanted not in have:
        reason = "this processor lacks it" if wanted in PATHS else "there is no such path"
        raise InputError(f"{ENVIRONMENT}={wanted}: {reason}; here are {', '.join(have)}")
    return PATHS[wanted or have[0]][0]


def dot_kind(path: Path, bytes_: bool, reach: int, run: int, runs: int) -> int:
    """How `path` handles a source of unsigned bytes, or else of 16-bit messages.

    Args:
        reach: largest message times the largest magnitude of a weight.
        run, runs: quads of a run, runs of a patch.
    """
    if not bytes_:
        return PAIRS
    if isinstance(path, Vnni512):
        return QUADS
    if isinstance(path, Portable) or 2 * reach > _LARGEST_16:  # vpmaddubsw would saturate
        return BYTE_PAIRS
    if 2 * reach * run * runs <= _LARGEST_16:
        return QUADS_OF_PATCH
    return QUADS_OF_RUN if 2 * reach * run <= _LARGEST_16 else QUADS


def _emit_quads(builder, accumulator, inputs, weights):
    return _call(builder, "llvm.x86.avx512.vpdpbusd.512", accumulator, inputs, weights)


def _emit_quads_avx2(builder, accumulator, inputs, weights):
    """A vector of ours as two of AVX2; inputs are the same in every lane."""
    halves = []
    for half in (0, 1):
        lanes = ir.Constant(_INTS_256, list(range(8 * half, 8 * half + 8)))
        low, high = (
            builder.bitcast(builder.shuffle_vector(x, ir.Constant(VECTOR, ir.Undefined), lanes), _BYTES_256)
            for x in (inputs, weights)
        )
        halves.append(_widened(builder, _products_of_quads(builder, low, high)))
    both = builder.shuffle_vector(*halves, ir.Constant(VECTOR, list(range(WIDTH))))
    return builder.add(accumulator, both)


def _products_of_quads(builder, inputs, weights):
    """Sums of two neighbouring products of unsigned with signed bytes, 16 bits each."""
    return _intrinsic(builder, "llvm.x86.avx2.pmadd.ub.sw", _SHORTS_256, inputs, weights)


def _widened(builder, sums):
    """Sums of two neighbouring 16-bit integers."""
    return _intrinsic(builder, "llvm.x86.avx2.pmadd.wd", _INTS_256, sums, ir.Constant(_SHORTS_256, [1] * 16))


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
    return _intrinsic(builder, name, VECTOR, *vectors)


def _intrinsic(builder, name, result, *vectors):
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [v.type for v in vectors]), name)
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


def _make_short_dot(pixels, whole_patch):
    """As _make_dot for AVX2, for one half of a block's OUTPUTS, with 16-bit sums: of a run, or of the whole patch.

    Two vectors of weights meet each pixel: with 6 pixels there are 12 sums, 2 weights, a message and a product, all of
    AVX2's 16 registers.
    """

    @intrinsic
    def dot(typing_context, source, offsets, runs, run_count, run_bytes, weights, accumulators, element_bytes):
        def generate(context, builder, signature, args):
            _ShortLoops(builder, pixels, whole_patch).generate(*args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return dot


class _ShortLoops(_Loops):
    """Two loops, over runs and over quads within a run. 16-bit sums are carried; `accumulators` begin as zeros."""

    def __init__(self, builder, pixels, whole_patch):
        super().__init__(builder, pixels, 2, _read_four_bytes, None, 4)
        self.whole_patch = whole_patch

    def generate(self, source, offsets, runs, run_count, run_bytes, weights, accumulators, element_bytes):
        b, zero, none = self.builder, ir.Constant(_INT64, 0), ir.Constant(_SHORTS_256, [0] * 16)
        entry = b.block
        over_runs, over_quads, run_done, done = (b.append_basic_block(n) for n in ("runs", "quads", "run_done", "done"))
        starts = [b.add(source, b.mul(self.int64_at(offsets, i), element_bytes)) for i in range(self.pixels)]
        quads = b.udiv(run_bytes, ir.Constant(_INT64, 4))
        places = [
            b.inttoptr(b.add(accumulators, ir.Constant(_INT64, 4 * OUTPUTS * i + 32 * v)), _INTS_256.as_pointer())
            for i in range(self.pixels)
            for v in (0, 1)
        ]
        for place in places:
            b.store(ir.Constant(_INTS_256, [0] * 8), place, align=4)
        b.branch(over_runs)

        b.position_at_end(over_runs)
        run = self.phi(_INT64, entry, zero)
        weight_of_run = self.phi(_INT64, entry, weights)
        carried = [self.phi(_SHORTS_256, entry, none) for _ in places] if self.whole_patch else [none] * len(places)
        offset = b.mul(self.int64_at(runs, run), element_bytes)
        pointers = [b.inttoptr(b.add(start, offset), _INT8.as_pointer()) for start in starts]
        b.branch(over_quads)

        b.position_at_end(over_quads)
        quad = self.phi(_INT64, over_runs, zero)
        weight = self.phi(_INT64, over_runs, weight_of_run)
        sums = [self.phi(_SHORTS_256, over_runs, value) for value in carried]
        updated = self.update(pointers, quad, weight, sums)
        following = [b.add(quad, ir.Constant(_INT64, 1)), b.add(weight, ir.Constant(_INT64, 4 * OUTPUTS)), *updated]
        for phi, value in zip([quad, weight, *sums], following, strict=True):
            phi.add_incoming(value, over_quads)
        b.cbranch(b.icmp_signed("<", following[0], quads), over_quads, run_done)

        b.position_at_end(run_done)
        if not self.whole_patch:
            self.add_to(places, updated)
        next_run = b.add(run, ir.Constant(_INT64, 1))
        run.add_incoming(next_run, run_done)
        weight_of_run.add_incoming(following[1], run_done)
        if self.whole_patch:
            for phi, value in zip(carried, updated, strict=True):
                phi.add_incoming(value, run_done)
        b.cbranch(b.icmp_signed("<", next_run, run_count), over_runs, done)

        b.position_at_end(done)
        if self.whole_patch:
            self.add_to(places, updated)

    def update(self, pointers, quad, weight, sums):
        b = self.builder
        at = b.inttoptr(weight, _BYTES_256.as_pointer())
        rows = [b.load(b.gep(at, [ir.Constant(_INT64, v)]), align=4) for v in (0, 1)]
        updated = []
        for i, pointer in enumerate(pointers):
            scalar = _read_four_bytes(b, pointer, quad)
            undefined = ir.Constant(_INTS_256, ir.Undefined)
            first = b.insert_element(undefined, scalar, ir.Constant(_INT32, 0))
            inputs = b.bitcast(b.shuffle_vector(first, undefined, ir.Constant(_INTS_256, [0] * 8)), _BYTES_256)
            updated += [b.add(sums[2 * i + v], _products_of_quads(b, inputs, rows[v])) for v in (0, 1)]
        return updated

    def add_to(self, places, sums):
        for place, value in zip(places, sums, strict=True):
            before = self.builder.load(place, align=4)
            self.builder.store(self.builder.add(before, _widened(self.builder, value)), place, align=4)


_quads_8, _quads_2 = (_make_dot(n, _read_four_bytes, _emit_quads, 4) for n in (8, 2))
_pairs_8, _pairs_2 = (_make_dot(n, _read_four_bytes, _emit_pairs_vnni, 4) for n in (8, 2))
_avx2_quads = _make_dot(2, _read_four_bytes, _emit_quads_avx2, 4)
(_run_6, _run_2), (_patch_6, _patch_2) = (
    [_make_short_dot(n, whole_patch) for n in (6, 2)] for whole_patch in (False, True)
)
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

    if path.instance_class is Avx2:

        def on_avx2(
            path, kind, source, offsets, runs, run_count, run_bytes, weights, accumulators, pixels, element_bytes
        ):  # fmt: skip
            i = 0
            while i < pixels:
                at, to = offsets + 8 * i, accumulators + 4 * OUTPUTS * i
                if kind in (QUADS_OF_RUN, QUADS_OF_PATCH):
                    for half in range(0, 2 * OUTPUTS + 1, 2 * OUTPUTS):
                        row, place = weights + half, to + half
                        if pixels - i > 2:
                            if kind == QUADS_OF_PATCH:
                                _patch_6(source, at, runs, run_count, run_bytes, row, place, element_bytes)
                            else:
                                _run_6(source, at, runs, run_count, run_bytes, row, place, element_bytes)
                        elif kind == QUADS_OF_PATCH:
                            _patch_2(source, at, runs, run_count, run_bytes, row, place, element_bytes)
                        else:
                            _run_2(source, at, runs, run_count, run_bytes, row, place, element_bytes)
                    i += 6 if pixels - i > 2 else 2
                else:
                    if kind == QUADS:
                        _avx2_quads(source, at, runs, run_count, run_bytes, weights, to, element_bytes)
                    elif kind == BYTE_PAIRS:
                        _portable_byte_pairs(source, at, runs, run_count, run_bytes, weights, to, element_bytes)
                    else:
                        _portable_pairs(source, at, runs, run_count, run_bytes, weights, to, element_bytes)
                    i += 2

        return on_avx2

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


def _quad_of_bytes_avx2(builder, quad, row, sums):
    inputs = _broadcast(builder, quad)
    return [_emit_quads_avx2(builder, s, inputs, _row_at(builder, row, v)) for v, s in enumerate(sums)]


_add_quads = _make_add_events(_quad_of_bytes)
_add_quads_avx2 = _make_add_events(_quad_of_bytes_avx2)
_add_pairs = _make_add_events(_quad_of_pairs)


def add_events(path, kind, events, count, weights, accumulators):
    """Accumulators of one pixel += the values of `count` events x their weights."""
    raise NotImplementedError("only compiled code calls this")


@overload(add_events)
def _overload_add_events(path, kind, events, count, weights, accumulators):
    if path.instance_class is Vnni512:
        return lambda path, kind, events, count, weights, accumulators: _add_quads(events, count, weights, accumulators)
    if path.instance_class is Portable:
        return lambda path, kind, events, count, weights, accumulators: _add_pairs(events, count, weights, accumulators)

    def on_avx2(path, kind, events, count, weights, accumulators):
        if kind == BYTE_PAIRS:
            _add_pairs(events, count, weights, accumulators)
        else:
            _add_quads_avx2(events, count, weights, accumulators)

    return on_avx2
