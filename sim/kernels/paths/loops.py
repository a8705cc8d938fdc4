"""What the paths' loops share: LLVM's instructions of the loops over runs and positions.

A path says in a `Scheme` how messages meet weights; the loops are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types

from ..compiling import intrinsic
from .path import ROW

INT8, INT16, INT32, INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


# ----------------------------------------------------------------------- instructions


class Scheme(NamedTuple):
    """How the messages of a position meet their weights, in vectors of `lanes` 32-bit lanes, an output channel each.

    Fields:
        lanes: of a vector of weights.
        sums: LLVM type of the accumulators while they are summed.
        read: (builder, pointer, position) -> the messages as one 32-bit integer.
        emit: (builder, sums, messages, weights) -> sums, with the messages in every lane.
        finish: (builder, sums) -> 32-bit lanes.
        by_run: finish after each run, not once after the patch.
        position_bytes: bytes of a patch that a position takes.
    """

    lanes: int
    sums: ir.VectorType
    read: Callable[..., Any]
    emit: Callable[..., Any]
    finish: Callable[..., Any]
    position_bytes: int
    by_run: bool = False


def words(lanes: int) -> ir.VectorType:
    return ir.VectorType(INT32, lanes)


def call(builder, name, result, *vectors):
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [v.type for v in vectors]), name)
    return builder.call(function, vectors)


def instruction(name):
    """`name` (sums, messages, weights), all 32-bit lanes."""
    return lambda builder, sums, inputs, weights: call(builder, name, sums.type, sums, inputs, weights)


def _as_they_are(builder, sums):
    return sums


def _read_four_bytes(builder, pointer, position):
    """Four bytes of a patch at byte 4 * position."""
    return _load_integer(builder, pointer, builder.shl(position, ir.Constant(INT64, 2)), INT32)


def read_two_bytes(builder, pointer, position):
    """Two bytes of a patch at byte 2 * position, each widened to 16 bits."""
    two = _load_integer(builder, pointer, builder.shl(position, ir.Constant(INT64, 1)), INT16)
    return apart(builder, builder.zext(two, INT32))


def apart(builder, two):
    """The two low bytes of a 32-bit integer, each widened to 16 bits."""
    spread = builder.or_(two, builder.shl(two, ir.Constant(INT32, 8)))
    return builder.and_(spread, ir.Constant(INT32, 0x00FF00FF))


def _load_integer(builder, pointer, offset, kind):
    value = builder.load(builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer()))
    value.align = 1
    return value


def make_scheme(lanes, emit, read=_read_four_bytes, sums=None, finish=_as_they_are):
    return Scheme(lanes, sums or words(lanes), read, emit, finish, 4 if read is _read_four_bytes else 2)


# ------------------------------------------------------------------------------ loops


def make_dot(pixels, vectors, scheme):
    """An intrinsic: accumulators of `pixels` pixels x `vectors` vectors of channels.

    Arguments, all int64: address of the source's first message of the step; address of the pixels' offsets; address
    and number of the runs' offsets; bytes of a run; address of the weights; address of the accumulators (32-bit,
    OUTPUTS per pixel). Offsets count elements of `element_bytes`.
    """

    @intrinsic
    def dot(typing_context, source, offsets, runs, run_count, run_bytes, weights, accumulators, element_bytes):
        def generate(context, builder, signature, args):
            Loops(builder, pixels, vectors, scheme).generate(*args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return dot


def make_rows(pixels, vectors, scheme):
    """As make_dot, of rows at one distance from each other, each of one run; the bytes are a multiple of 32.

    Arguments, all int64: address of the first row; bytes to the next; bytes of a row; addresses of the weights and of
    the accumulators.
    """

    @intrinsic
    def rows(typing_context, source, apart, row_bytes, weights, accumulators):
        def generate(context, builder, signature, args):
            Loops(builder, pixels, vectors, scheme).generate_rows(*args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), generate

    return rows


class Loops:
    """Two loops, over runs and over positions within a run, with all accumulators carried in registers."""

    def __init__(self, builder, pixels, vectors, scheme):
        self.builder, self.pixels, self.vectors, self.scheme = builder, pixels, vectors, scheme

    def generate(self, source, offsets, runs, run_count, run_bytes, weights, accumulators, element_bytes):
        b, zero, sums_type = self.builder, ir.Constant(INT64, 0), self.scheme.sums
        entry = b.block
        over_runs, done = (b.append_basic_block(n) for n in ("runs", "done"))
        if self.scheme.by_run:
            for i in range(self.pixels * self.vectors):
                place = self.place(accumulators, i)
                b.store(ir.Constant(place.type.pointee, [0] * self.scheme.lanes), place, align=4)
        starts = [b.add(source, b.mul(int64_at(b, offsets, INT64(i)), element_bytes)) for i in range(self.pixels)]
        positions = b.udiv(run_bytes, ir.Constant(INT64, self.scheme.position_bytes))
        b.branch(over_runs)

        b.position_at_end(over_runs)
        run = self.phi(INT64, entry, zero)
        weight_of_run = self.phi(INT64, entry, weights)
        none = ir.Constant(sums_type, [0] * sums_type.count)
        sums = [self.phi(sums_type, entry, none) for _ in range(self.pixels * self.vectors)]
        offset = b.mul(int64_at(b, runs, run), element_bytes)
        pointers = [b.inttoptr(b.add(start, offset), INT8.as_pointer()) for start in starts]
        updated, next_weight = self.over_positions(pointers, positions, weight_of_run, sums)
        run_done = b.block
        next_run = b.add(run, ir.Constant(INT64, 1))
        if self.scheme.by_run:
            self.store(accumulators, updated)
            carried = [none] * len(sums)
        else:
            carried = updated
        for phi, value in zip([run, weight_of_run, *sums], [next_run, next_weight, *carried], strict=True):
            phi.add_incoming(value, run_done)
        b.cbranch(b.icmp_signed("<", next_run, run_count), over_runs, done)

        b.position_at_end(done)
        if not self.scheme.by_run:
            self.store(accumulators, updated)

    def generate_rows(self, source, apart, row_bytes, weights, accumulators):
        b = self.builder
        starts = [source]
        for _ in range(self.pixels - 1):
            starts.append(b.add(starts[-1], apart))
        none = ir.Constant(self.scheme.sums, [0] * self.scheme.sums.count)
        positions = b.udiv(row_bytes, ir.Constant(INT64, self.scheme.position_bytes))
        pointers = [b.inttoptr(start, INT8.as_pointer()) for start in starts]
        sums, _ = self.over_positions(pointers, positions, weights, [none] * (self.pixels * self.vectors), 2)
        self.store(accumulators, sums)

    def over_positions(self, pointers, count, weight_of_run, sums, at_once=1):
        """Positions [0, count) of a run, a multiple of `at_once`: the sums, and the weights that come after."""
        b, before = self.builder, self.builder.block
        loop, done = b.append_basic_block("positions"), b.append_basic_block("run_done")
        b.branch(loop)
        b.position_at_end(loop)
        position = self.phi(INT64, before, ir.Constant(INT64, 0))
        weight = self.phi(INT64, before, weight_of_run)
        partial = [self.phi(self.scheme.sums, before, s) for s in sums]
        updated, next_position, next_weight = partial, position, weight
        for _ in range(at_once):
            updated = self.update(pointers, next_position, next_weight, updated)
            next_weight = b.add(next_weight, ir.Constant(INT64, ROW))
            next_position = b.add(next_position, ir.Constant(INT64, 1))
        for phi, value in zip([position, weight, *partial], [next_position, next_weight, *updated], strict=True):
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_signed("<", next_position, count), loop, done)
        b.position_at_end(done)
        return updated, next_weight

    def store(self, accumulators, sums):
        """Leave the sums of the patch, or add those of a run."""
        b = self.builder
        for i, value in enumerate(sums):
            place, result = self.place(accumulators, i), self.scheme.finish(b, value)
            if self.scheme.by_run:
                result = b.add(result, b.load(place, align=4))
            b.store(result, place, align=4)

    def place(self, accumulators, i):
        pixel, vector = divmod(i, self.vectors)
        offset = ir.Constant(INT64, pixel * ROW + 4 * self.scheme.lanes * vector)
        return self.builder.inttoptr(self.builder.add(accumulators, offset), words(self.scheme.lanes).as_pointer())

    def update(self, pointers, position, weight, sums):
        b, lanes = self.builder, self.scheme.lanes
        rows = vectors_at(b, b.inttoptr(weight, words(lanes).as_pointer()), self.vectors)
        updated = []
        for i, pointer in enumerate(pointers):
            inputs = broadcast(b, self.scheme.read(b, pointer, position), lanes)
            mine = sums[i * self.vectors : (i + 1) * self.vectors]
            updated += [self.scheme.emit(b, s, inputs, row) for s, row in zip(mine, rows, strict=True)]
        return updated

    def phi(self, kind, block, value):
        phi = self.builder.phi(kind)
        phi.add_incoming(value, block)
        return phi


def int64_at(builder, address, index):
    return builder.load(builder.gep(builder.inttoptr(address, INT64.as_pointer()), [index]))


def vectors_at(builder, pointer, vectors):
    return [builder.load(builder.gep(pointer, [ir.Constant(INT64, v)]), align=4) for v in range(vectors)]


def broadcast(builder, scalar, lanes):
    undefined = ir.Constant(words(lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(words(lanes), [0] * lanes))
