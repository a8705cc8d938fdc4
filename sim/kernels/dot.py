"""Dot products of patches with weights: the inner loop of every convolution and linear layer.

A tile's accumulators are a few pixels x OUTPUTS channels. A patch is a few contiguous runs of the source; per step of
the loop, a position, four bytes of every pixel's patch (four 8-bit or two 16-bit messages) are broadcast and meet the
weights of as many channels as the registers hold. Each path emits its processor's own instructions, through LLVM:

    amx       tdpbusd: amx.py; as vnni512 where tiles do not fit
    vnni512   vpdpbusd, vpdpwssd     8 pixels x 32 channels or 16 x 16 in 16 of 32 registers
    avxvnni   the same in 256 bits   6 pixels x 16 channels in 12 of 16 registers
    avx2      vpmaddubsw + vpaddw, vpmaddwd + vpaddd, the same 12 registers
    neoni8mm  usdot, and neondot sdot, for bytes; 6 pixels x 16 channels in 24 of 32 registers
    portable  generic vector operations
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import overload

from . import amx
from .compiling import intrinsic, kernel
from .lanes import WIDTH
from .paths import (
    BYTE_PAIRS,
    QUADS,
    QUADS_IN_TILES,
    QUADS_OF_RUN,
    QUADS_WIDENED,
    Amx,
    Avx2,
    AvxVnni,
    NeonDot,
    NeonI8mm,
    Portable,
    Vnni512,
)

OUTPUTS = 32
"""Output channels of a tile: those of a block of weights."""
_ROW = 4 * OUTPUTS
"""Bytes of weights that a position meets, and of a pixel's accumulators."""
_INT8, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


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


def _words(lanes: int) -> ir.VectorType:
    return ir.VectorType(_INT32, lanes)


def _call(builder, name, result, *vectors):
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [v.type for v in vectors]), name)
    return builder.call(function, vectors)


def _instruction(name):
    """`name` (sums, messages, weights), all 32-bit lanes."""
    return lambda builder, sums, inputs, weights: _call(builder, name, sums.type, sums, inputs, weights)


def _neon(name):
    """`name` (sums, messages, weights) of Arm: four products of bytes in each of four lanes."""

    def emit(builder, sums, inputs, weights):
        bytes_ = ir.VectorType(_INT8, 16)
        a, b = builder.bitcast(inputs, bytes_), builder.bitcast(weights, bytes_)
        return _call(builder, f"llvm.aarch64.neon.{name}.v4i32.v16i8", sums.type, sums, a, b)

    return emit


def _multiply_bytes(builder, inputs, weights):
    """vpmaddubsw: sums of neighbouring products of unsigned with signed bytes, 16 lanes of 16 bits."""
    bytes_ = ir.VectorType(_INT8, 32)
    a, b = builder.bitcast(inputs, bytes_), builder.bitcast(weights, bytes_)
    return _call(builder, "llvm.x86.avx2.pmadd.ub.sw", ir.VectorType(_INT16, 16), a, b)


def _multiply_shorts(builder, a, b):
    """vpmaddwd: sums of neighbouring products of signed 16-bit integers, 8 lanes of 32 bits."""
    shorts = ir.VectorType(_INT16, 16)
    a, b = builder.bitcast(a, shorts), builder.bitcast(b, shorts)
    return _call(builder, "llvm.x86.avx2.pmadd.wd", _words(8), a, b)


def _widen(builder, sums):
    return _multiply_shorts(builder, sums, ir.Constant(ir.VectorType(_INT16, 16), [1] * 16))


def _emit_short_sums(builder, sums, inputs, weights):
    return builder.add(sums, _multiply_bytes(builder, inputs, weights))


def _emit_widened(builder, sums, inputs, weights):
    return builder.add(sums, _widen(builder, _multiply_bytes(builder, inputs, weights)))


def _emit_pairs(builder, sums, inputs, weights):
    return builder.add(sums, _multiply_shorts(builder, inputs, weights))


def _emit_pairs_anywhere(builder, sums, inputs, weights):
    """Generic: LLVM recognises a multiply-add of neighbouring 16-bit integers where the processor has one."""
    lanes = sums.type.count
    shorts, wide = ir.VectorType(_INT16, 2 * lanes), ir.VectorType(_INT32, 2 * lanes)
    a = builder.sext(builder.bitcast(inputs, shorts), wide)
    b = builder.sext(builder.bitcast(weights, shorts), wide)
    products = builder.mul(a, b)
    undefined = ir.Constant(wide, ir.Undefined)
    even, odd = (
        builder.shuffle_vector(products, undefined, ir.Constant(sums.type, [2 * i + first for i in range(lanes)]))
        for first in (0, 1)
    )
    return builder.add(sums, builder.add(even, odd))


def _as_they_are(builder, sums):
    return sums


def _read_four_bytes(builder, pointer, position):
    """Four bytes of a patch at byte 4 * position."""
    return _load_integer(builder, pointer, builder.shl(position, ir.Constant(_INT64, 2)), _INT32)


def _read_two_bytes(builder, pointer, position):
    """Two bytes of a patch at byte 2 * position, each widened to 16 bits."""
    two = _load_integer(builder, pointer, builder.shl(position, ir.Constant(_INT64, 1)), _INT16)
    return _apart(builder, builder.zext(two, _INT32))


def _apart(builder, two):
    """The two low bytes of a 32-bit integer, each widened to 16 bits."""
    spread = builder.or_(two, builder.shl(two, ir.Constant(_INT32, 8)))
    return builder.and_(spread, ir.Constant(_INT32, 0x00FF00FF))


def _load_integer(builder, pointer, offset, kind):
    value = builder.load(builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer()))
    value.align = 1
    return value


def _scheme(lanes, emit, read=_read_four_bytes, sums=None, finish=_as_they_are):
    return Scheme(lanes, sums or _words(lanes), read, emit, finish, 4 if read is _read_four_bytes else 2)


_QUADS_512 = _scheme(16, _instruction("llvm.x86.avx512.vpdpbusd.512"))
_PAIRS_512 = _scheme(16, _instruction("llvm.x86.avx512.vpdpwssd.512"))
_QUADS_VNNI = _scheme(8, _instruction("llvm.x86.avx512.vpdpbusd.256"))
_PAIRS_VNNI = _scheme(8, _instruction("llvm.x86.avx512.vpdpwssd.256"))
_QUADS_AVX2 = _scheme(8, _emit_short_sums, sums=ir.VectorType(_INT16, 16), finish=_widen)
_QUADS_OF_RUN = _QUADS_AVX2._replace(by_run=True)
_QUADS_WIDENED = _scheme(8, _emit_widened)
_PAIRS_AVX2 = _scheme(8, _emit_pairs)
_BYTE_PAIRS_AVX2 = _scheme(8, _emit_pairs, _read_two_bytes)
_QUADS_I8MM, _QUADS_NEON = (_scheme(4, _neon(name)) for name in ("usdot", "sdot"))
_PAIRS_ANYWHERE = _scheme(16, _emit_pairs_anywhere)
_BYTE_PAIRS_ANYWHERE = _scheme(16, _emit_pairs_anywhere, _read_two_bytes)


# ------------------------------------------------------------------------------ loops


def _make_dot(pixels, vectors, scheme):
    """An intrinsic: accumulators of `pixels` pixels x `vectors` vectors of channels.

    Arguments, all int64: address of the source's first message of the step; address of the pixels' offsets; address
    and number of the runs' offsets; bytes of a run; address of the weights; address of the accumulators (32-bit,
    OUTPUTS per pixel). Offsets count elements of `element_bytes`.
    """

    @intrinsic
    def dot(typing_context, source, offsets, runs, run_count, run_bytes, weights, accumulators, element_bytes):
        def generate(context, builder, signature, args):
            _Loops(builder, pixels, vectors, scheme).generate(*args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return dot


def _make_rows(pixels, vectors, scheme):
    """As _make_dot, of rows at one distance from each other, each of one run; the bytes are a multiple of 32.

    Arguments, all int64: address of the first row; bytes to the next; bytes of a row; addresses of the weights and of
    the accumulators.
    """

    @intrinsic
    def rows(typing_context, source, apart, row_bytes, weights, accumulators):
        def generate(context, builder, signature, args):
            _Loops(builder, pixels, vectors, scheme).generate_rows(*args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), generate

    return rows


class _Loops:
    """Two loops, over runs and over positions within a run, with all accumulators carried in registers."""

    def __init__(self, builder, pixels, vectors, scheme):
        self.builder, self.pixels, self.vectors, self.scheme = builder, pixels, vectors, scheme

    def generate(self, source, offsets, runs, run_count, run_bytes, weights, accumulators, element_bytes):
        b, zero, sums_type = self.builder, ir.Constant(_INT64, 0), self.scheme.sums
        entry = b.block
        over_runs, done = (b.append_basic_block(n) for n in ("runs", "done"))
        if self.scheme.by_run:
            for i in range(self.pixels * self.vectors):
                place = self.place(accumulators, i)
                b.store(ir.Constant(place.type.pointee, [0] * self.scheme.lanes), place, align=4)
        starts = [b.add(source, b.mul(self.int64_at(offsets, i), element_bytes)) for i in range(self.pixels)]
        positions = b.udiv(run_bytes, ir.Constant(_INT64, self.scheme.position_bytes))
        b.branch(over_runs)

        b.position_at_end(over_runs)
        run = self.phi(_INT64, entry, zero)
        weight_of_run = self.phi(_INT64, entry, weights)
        none = ir.Constant(sums_type, [0] * sums_type.count)
        sums = [self.phi(sums_type, entry, none) for _ in range(self.pixels * self.vectors)]
        offset = b.mul(self.int64_at(runs, run), element_bytes)
        pointers = [b.inttoptr(b.add(start, offset), _INT8.as_pointer()) for start in starts]
        updated, next_weight = self.over_positions(pointers, positions, weight_of_run, sums)
        run_done = b.block
        next_run = b.add(run, ir.Constant(_INT64, 1))
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
        positions = b.udiv(row_bytes, ir.Constant(_INT64, self.scheme.position_bytes))
        pointers = [b.inttoptr(start, _INT8.as_pointer()) for start in starts]
        sums, _ = self.over_positions(pointers, positions, weights, [none] * (self.pixels * self.vectors), 2)
        self.store(accumulators, sums)

    def over_positions(self, pointers, count, weight_of_run, sums, at_once=1):
        """Positions [0, count) of a run, a multiple of `at_once`: the sums, and the weights that come after."""
        b, before = self.builder, self.builder.block
        loop, done = b.append_basic_block("positions"), b.append_basic_block("run_done")
        b.branch(loop)
        b.position_at_end(loop)
        position = self.phi(_INT64, before, ir.Constant(_INT64, 0))
        weight = self.phi(_INT64, before, weight_of_run)
        partial = [self.phi(self.scheme.sums, before, s) for s in sums]
        updated, next_position, next_weight = partial, position, weight
        for _ in range(at_once):
            updated = self.update(pointers, next_position, next_weight, updated)
            next_weight = b.add(next_weight, ir.Constant(_INT64, _ROW))
            next_position = b.add(next_position, ir.Constant(_INT64, 1))
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
        offset = ir.Constant(_INT64, pixel * _ROW + 4 * self.scheme.lanes * vector)
        return self.builder.inttoptr(self.builder.add(accumulators, offset), _words(self.scheme.lanes).as_pointer())

    def update(self, pointers, position, weight, sums):
        b, lanes = self.builder, self.scheme.lanes
        rows = _rows(b, b.inttoptr(weight, _words(lanes).as_pointer()), self.vectors)
        updated = []
        for i, pointer in enumerate(pointers):
            inputs = _broadcast(b, self.scheme.read(b, pointer, position), lanes)
            mine = sums[i * self.vectors : (i + 1) * self.vectors]
            updated += [self.scheme.emit(b, s, inputs, row) for s, row in zip(mine, rows, strict=True)]
        return updated

    def phi(self, kind, block, value):
        phi = self.builder.phi(kind)
        phi.add_incoming(value, block)
        return phi

    def int64_at(self, address_, index):
        pointer = self.builder.inttoptr(address_, _INT64.as_pointer())
        index = ir.Constant(_INT64, index) if isinstance(index, int) else index
        return self.builder.load(self.builder.gep(pointer, [index]))


def _rows(builder, pointer, vectors):
    return [builder.load(builder.gep(pointer, [ir.Constant(_INT64, v)]), align=4) for v in range(vectors)]


def _broadcast(builder, scalar, lanes):
    undefined = ir.Constant(_words(lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_words(lanes), [0] * lanes))


_quads_8, _quads_2 = (_make_dot(n, 2, _QUADS_512) for n in (8, 2))
_pairs_8, _pairs_2 = (_make_dot(n, 2, _PAIRS_512) for n in (8, 2))
# Where a tile has 16 channels or fewer, twice the pixels in the same registers.
_quads_16, _pairs_16 = (_make_dot(16, 1, scheme) for scheme in (_QUADS_512, _PAIRS_512))
_portable_pairs = _make_dot(2, 2, _PAIRS_ANYWHERE)
_portable_byte_pairs = _make_dot(2, 2, _BYTE_PAIRS_ANYWHERE)


def dot_tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
    """Accumulators of pixels x lanes, at `sums`; offsets count `bytes_` bytes.

    Whole groups of pixels and channels are computed, so that offsets and accumulators are padded.

    Args:
        rows: pixels of a tile, see amx.py.
    """
    raise NotImplementedError("only compiled code calls this")


@overload(dot_tile)
def _dot_tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
    if path.instance_class is Amx:

        def on_amx(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
            if kind == QUADS_IN_TILES:
                amx.products(source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, rows)
            else:
                _on_512_bits(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_)

        return on_amx
    if path.instance_class is Vnni512:

        def on_512(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
            _on_512_bits(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_)

        return on_512
    if path.instance_class is Avx2 or path.instance_class is AvxVnni:
        return _on_256_bits(path.instance_class)

    if path.instance_class is NeonI8mm or path.instance_class is NeonDot:
        return _on_neon(_QUADS_I8MM if path.instance_class is NeonI8mm else _QUADS_NEON)

    def on_any(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
        _anywhere(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, bytes_)

    return on_any


@kernel
def _anywhere(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, bytes_):
    for i in range(0, pixels, 2):
        at, to = offsets + 8 * i, sums + _ROW * i
        if kind == BYTE_PAIRS:
            _portable_byte_pairs(source, at, runs, run_count, run_bytes, weights, to, bytes_)
        else:
            _portable_pairs(source, at, runs, run_count, run_bytes, weights, to, bytes_)


def _on_neon(scheme):
    """Bytes 16 channels at a time, in groups of 6 and 2 pixels, with none wasted of 32; the rest as anywhere."""
    quads_6, quads_2 = (_make_dot(n, 4, scheme) for n in (6, 2))
    half = _ROW // 2

    def run(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
        if kind != QUADS:
            _anywhere(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, bytes_)
            return
        for side in range(0, 4 * lanes, half):
            for i in range(0, pixels, 6):
                at, to, row = offsets + 8 * i, sums + _ROW * i + side, weights + side
                if pixels - i > 2:
                    quads_6(source, at, runs, run_count, run_bytes, row, to, bytes_)
                else:
                    quads_2(source, at, runs, run_count, run_bytes, row, to, bytes_)

    return run


@kernel
def _on_512_bits(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_):
    i = 0
    while i < pixels:
        left, at, to = pixels - i, offsets + 8 * i, sums + _ROW * i
        if kind == QUADS:
            if left <= 2:
                _quads_2(source, at, runs, run_count, run_bytes, weights, to, bytes_)
            elif lanes <= WIDTH and left > 8:
                _quads_16(source, at, runs, run_count, run_bytes, weights, to, bytes_)
            else:
                _quads_8(source, at, runs, run_count, run_bytes, weights, to, bytes_)
        elif left <= 2:
            _pairs_2(source, at, runs, run_count, run_bytes, weights, to, bytes_)
        elif lanes <= WIDTH and left > 8:
            _pairs_16(source, at, runs, run_count, run_bytes, weights, to, bytes_)
        else:
            _pairs_8(source, at, runs, run_count, run_bytes, weights, to, bytes_)
        i += 2 if left <= 2 else 16 if lanes <= WIDTH and left > 8 else 8


def dot_rows(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
    """Accumulators of rows x lanes, at `sums`, of rows `apart` bytes from each other, which `offsets` are multiples of.

    Args:
        row_bytes: a multiple of 32; with AMX of 64, and a whole tile of rows is computed.
    """
    raise NotImplementedError("only compiled code calls this")


@overload(dot_rows)
def _dot_rows(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
    known = path.instance_class
    if known is Amx:

        def on_amx(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
            amx.products(source, offsets, offsets, 1, row_bytes, weights, sums, amx.ROWS, lanes, amx.ROWS)

        return on_amx
    if known is Vnni512:
        rows_16, rows_8, rows_2 = (_make_rows(*shape, _QUADS_512) for shape in ((16, 1), (8, 2), (2, 2)))

        def on_512(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
            i = 0
            while i < rows:
                at, to = source + apart * i, sums + _ROW * i
                if rows - i <= 2:
                    rows_2(at, apart, row_bytes, weights, to)
                    i += 2
                elif lanes <= WIDTH and rows - i > 8:
                    rows_16(at, apart, row_bytes, weights, to)
                    i += 16
                else:
                    rows_8(at, apart, row_bytes, weights, to)
                    i += 8

        return on_512
    if known is Avx2 or known is AvxVnni:
        scheme = _QUADS_AVX2 if known is Avx2 else _QUADS_VNNI
        rows_6, rows_4 = (_make_rows(n, 2, scheme) for n in (6, 4))
        half = _ROW // 2

        def on_256(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
            if kind != QUADS:
                dot_tile(path, kind, source, offsets, offsets, 1, row_bytes, weights, sums, rows, lanes, 1, 0)
                return
            for side in range(0, 4 * lanes, half):
                i = 0
                while i < rows:
                    left, at, to = rows - i, source + apart * i, sums + _ROW * i + side
                    if left == 5 or left == 6 or left >= 9:
                        rows_6(at, apart, row_bytes, weights + side, to)
                        i += 6
                    else:
                        rows_4(at, apart, row_bytes, weights + side, to)
                        i += 4

        return on_256

    def anywhere(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
        dot_tile(path, kind, source, offsets, offsets, 1, row_bytes, weights, sums, rows, lanes, 1, 0)

    return anywhere


def _on_256_bits(path):
    """16 channels at a time, since 16 registers hold no more; groups of 6 and 4 pixels, with none wasted of 32."""
    quads, pairs = (_QUADS_AVX2, _PAIRS_AVX2) if path is Avx2 else (_QUADS_VNNI, _PAIRS_VNNI)
    quads_6, quads_4 = (_make_dot(n, 2, quads) for n in (6, 4))
    pairs_6, pairs_4 = (_make_dot(n, 2, pairs) for n in (6, 4))
    of_run, widened, byte_pairs = (_make_dot(4, 2, s) for s in (_QUADS_OF_RUN, _QUADS_WIDENED, _BYTE_PAIRS_AVX2))
    half, emulates = _ROW // 2, path is Avx2

    def run(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
        for side in range(0, 4 * lanes, half):
            i = 0
            while i < pixels:
                left, at, to, row = pixels - i, offsets + 8 * i, sums + _ROW * i + side, weights + side
                six = left >= 9 or left == 5 or left == 6
                if kind == QUADS:
                    if six:
                        quads_6(source, at, runs, run_count, run_bytes, row, to, bytes_)
                    else:
                        quads_4(source, at, runs, run_count, run_bytes, row, to, bytes_)
                elif emulates and kind == QUADS_OF_RUN:
                    six = False
                    of_run(source, at, runs, run_count, run_bytes, row, to, bytes_)
                elif emulates and kind == QUADS_WIDENED:
                    six = False
                    widened(source, at, runs, run_count, run_bytes, row, to, bytes_)
                elif emulates and kind == BYTE_PAIRS:
                    six = False
                    byte_pairs(source, at, runs, run_count, run_bytes, row, to, bytes_)
                elif six:
                    pairs_6(source, at, runs, run_count, run_bytes, row, to, bytes_)
                else:
                    pairs_4(source, at, runs, run_count, run_bytes, row, to, bytes_)
                i += 6 if six else 4

    return run


# --------------------------------------------------------------------------------- events


def _make_add_events(lanes, emit_quad):
    """An intrinsic: accumulators of one pixel += values x weights, for a stretch of a list of events.py.

    Arguments, all int64: address of the first event, number of events (at least one), address of the weights of
    quad 0, address of the accumulators. Two events are in flight at once, with accumulators of their own:

        entry ──(two or more)──> pairs ⟲ ──> rest ──(one is left)──> one ──> done
          └────────────(one)────────────────> ┘└───────(none)────────────────> ┘

    `pairs` carries both sets of accumulators, `rest` adds them up, `done` stores them.
    """
    vectors, vector = OUTPUTS // lanes, _words(lanes)

    @intrinsic
    def add(typing_context, events, count, weights, accumulators):
        def generate(context, builder, signature, args):
            events, count, weights, accumulators = args
            b, zero = builder, ir.Constant(_INT64, 0)
            list_ = b.inttoptr(events, _INT32.as_pointer())
            target = b.inttoptr(accumulators, vector.as_pointer())
            places = [b.gep(target, [ir.Constant(_INT64, v)]) for v in range(vectors)]
            olds = [b.load(place, align=4) for place in places]
            entry, pairs, rest, one, done = (
                b.block,
                *(b.append_basic_block(n) for n in ("pairs", "rest", "one", "done")),
            )
            none = ir.Constant(vector, [0] * lanes)
            two_or_more = b.icmp_signed(">=", count, ir.Constant(_INT64, 2))
            b.cbranch(two_or_more, pairs, rest)

            b.position_at_end(pairs)
            index = b.phi(_INT64)
            index.add_incoming(zero, entry)
            sums = [b.phi(vector) for _ in range(2 * vectors)]
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
            both = [b.phi(vector) for _ in range(2 * vectors)]
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
                result = b.phi(vector)
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
    return emit_quad(builder, quad, builder.inttoptr(builder.add(weights, offset), sums[0].type.as_pointer()), sums)


def _quad_of_bytes(emit):
    """Four messages with the weights of a quad."""

    def emit_quad(builder, quad, row, sums):
        inputs = _broadcast(builder, quad, sums[0].type.count)
        rows = _rows(builder, row, len(sums))
        return [emit(builder, s, inputs, weights) for s, weights in zip(sums, rows, strict=True)]

    return emit_quad


def _quad_of_pairs(emit):
    """Two pairs, one after the other, as BYTE_PAIRS keeps their weights."""

    def emit_quad(builder, quad, row, sums):
        rows = _rows(builder, row, 2 * len(sums))
        for half in (0, 1):
            pair = builder.and_(builder.lshr(quad, ir.Constant(_INT32, 16 * half)), ir.Constant(_INT32, 0xFFFF))
            inputs = _broadcast(builder, _apart(builder, pair), sums[0].type.count)
            mine = rows[half * len(sums) : (half + 1) * len(sums)]
            sums = [emit(builder, s, inputs, weights) for s, weights in zip(sums, mine, strict=True)]
        return sums

    return emit_quad


_add_quads_512 = _make_add_events(16, _quad_of_bytes(_QUADS_512.emit))
_add_quads_vnni = _make_add_events(8, _quad_of_bytes(_QUADS_VNNI.emit))
_add_quads_i8mm, _add_quads_neon = (_make_add_events(4, _quad_of_bytes(s.emit)) for s in (_QUADS_I8MM, _QUADS_NEON))
_add_quads_avx2 = _make_add_events(8, _quad_of_bytes(_emit_widened))
_add_pairs_avx2 = _make_add_events(8, _quad_of_pairs(_emit_pairs))
_add_pairs_anywhere = _make_add_events(16, _quad_of_pairs(_emit_pairs_anywhere))


def add_events(path, kind, events, count, weights, accumulators):
    """Accumulators of one pixel += the values of `count` events x their weights."""
    raise NotImplementedError("only compiled code calls this")


@overload(add_events)
def _overload_add_events(path, kind, events, count, weights, accumulators):
    known = path.instance_class
    pairs = _add_pairs_avx2 if known is Avx2 else _add_pairs_anywhere
    ways = {
        Avx2: _add_quads_avx2,
        AvxVnni: _add_quads_vnni,
        NeonI8mm: _add_quads_i8mm,
        NeonDot: _add_quads_neon,
        Portable: pairs,
    }
    quads = ways.get(known, _add_quads_512)
    if known is not Avx2 and known is not NeonDot:
        return lambda path, kind, events, count, weights, accumulators: quads(events, count, weights, accumulators)

    def add(path, kind, events, count, weights, accumulators):
        if kind == BYTE_PAIRS:
            pairs(events, count, weights, accumulators)
        else:
            quads(events, count, weights, accumulators)

    return add
