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

from llvmlite import ir
from numba.extending import overload

from . import amx
from .compiling import kernel
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
from .paths.event_loops import make_add_events, quad_of_bytes, quad_of_pairs
from .paths.loops import (
    INT8,
    INT16,
    INT32,
    call,
    instruction,
    make_dot,
    make_rows,
    make_scheme,
    read_two_bytes,
    words,
)
from .paths.path import OUTPUTS as OUTPUTS
from .paths.path import ROW

# ----------------------------------------------------------------------- instructions


def _neon(name):
    """`name` (sums, messages, weights) of Arm: four products of bytes in each of four lanes."""

    def emit(builder, sums, inputs, weights):
        bytes_ = ir.VectorType(INT8, 16)
        a, b = builder.bitcast(inputs, bytes_), builder.bitcast(weights, bytes_)
        return call(builder, f"llvm.aarch64.neon.{name}.v4i32.v16i8", sums.type, sums, a, b)

    return emit


def _multiply_bytes(builder, inputs, weights):
    """vpmaddubsw: sums of neighbouring products of unsigned with signed bytes, 16 lanes of 16 bits."""
    bytes_ = ir.VectorType(INT8, 32)
    a, b = builder.bitcast(inputs, bytes_), builder.bitcast(weights, bytes_)
    return call(builder, "llvm.x86.avx2.pmadd.ub.sw", ir.VectorType(INT16, 16), a, b)


def _multiply_shorts(builder, a, b):
    """vpmaddwd: sums of neighbouring products of signed 16-bit integers, 8 lanes of 32 bits."""
    shorts = ir.VectorType(INT16, 16)
    a, b = builder.bitcast(a, shorts), builder.bitcast(b, shorts)
    return call(builder, "llvm.x86.avx2.pmadd.wd", words(8), a, b)


def _widen(builder, sums):
    return _multiply_shorts(builder, sums, ir.Constant(ir.VectorType(INT16, 16), [1] * 16))


def _emit_short_sums(builder, sums, inputs, weights):
    return builder.add(sums, _multiply_bytes(builder, inputs, weights))


def _emit_widened(builder, sums, inputs, weights):
    return builder.add(sums, _widen(builder, _multiply_bytes(builder, inputs, weights)))


def _emit_pairs(builder, sums, inputs, weights):
    return builder.add(sums, _multiply_shorts(builder, inputs, weights))


def _emit_pairs_anywhere(builder, sums, inputs, weights):
    """Generic: LLVM recognises a multiply-add of neighbouring 16-bit integers where the processor has one."""
    lanes = sums.type.count
    shorts, wide = ir.VectorType(INT16, 2 * lanes), ir.VectorType(INT32, 2 * lanes)
    a = builder.sext(builder.bitcast(inputs, shorts), wide)
    b = builder.sext(builder.bitcast(weights, shorts), wide)
    products = builder.mul(a, b)
    undefined = ir.Constant(wide, ir.Undefined)
    even, odd = (
        builder.shuffle_vector(products, undefined, ir.Constant(sums.type, [2 * i + first for i in range(lanes)]))
        for first in (0, 1)
    )
    return builder.add(sums, builder.add(even, odd))


_QUADS_512 = make_scheme(16, instruction("llvm.x86.avx512.vpdpbusd.512"))
_PAIRS_512 = make_scheme(16, instruction("llvm.x86.avx512.vpdpwssd.512"))
_QUADS_VNNI = make_scheme(8, instruction("llvm.x86.avx512.vpdpbusd.256"))
_PAIRS_VNNI = make_scheme(8, instruction("llvm.x86.avx512.vpdpwssd.256"))
_QUADS_AVX2 = make_scheme(8, _emit_short_sums, sums=ir.VectorType(INT16, 16), finish=_widen)
_QUADS_OF_RUN = _QUADS_AVX2._replace(by_run=True)
_QUADS_WIDENED = make_scheme(8, _emit_widened)
_PAIRS_AVX2 = make_scheme(8, _emit_pairs)
_BYTE_PAIRS_AVX2 = make_scheme(8, _emit_pairs, read_two_bytes)
_QUADS_I8MM, _QUADS_NEON = (make_scheme(4, _neon(name)) for name in ("usdot", "sdot"))
_PAIRS_ANYWHERE = make_scheme(16, _emit_pairs_anywhere)
_BYTE_PAIRS_ANYWHERE = make_scheme(16, _emit_pairs_anywhere, read_two_bytes)


_quads_8, _quads_2 = (make_dot(n, 2, _QUADS_512) for n in (8, 2))
_pairs_8, _pairs_2 = (make_dot(n, 2, _PAIRS_512) for n in (8, 2))
# Where a tile has 16 channels or fewer, twice the pixels in the same registers.
_quads_16, _pairs_16 = (make_dot(16, 1, scheme) for scheme in (_QUADS_512, _PAIRS_512))
_portable_pairs = make_dot(2, 2, _PAIRS_ANYWHERE)
_portable_byte_pairs = make_dot(2, 2, _BYTE_PAIRS_ANYWHERE)


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
        at, to = offsets + 8 * i, sums + ROW * i
        if kind == BYTE_PAIRS:
            _portable_byte_pairs(source, at, runs, run_count, run_bytes, weights, to, bytes_)
        else:
            _portable_pairs(source, at, runs, run_count, run_bytes, weights, to, bytes_)


def _on_neon(scheme):
    """Bytes 16 channels at a time, in groups of 6 and 2 pixels, with none wasted of 32; the rest as anywhere."""
    quads_6, quads_2 = (make_dot(n, 4, scheme) for n in (6, 2))
    half = ROW // 2

    def run(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
        if kind != QUADS:
            _anywhere(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, bytes_)
            return
        for side in range(0, 4 * lanes, half):
            for i in range(0, pixels, 6):
                at, to, row = offsets + 8 * i, sums + ROW * i + side, weights + side
                if pixels - i > 2:
                    quads_6(source, at, runs, run_count, run_bytes, row, to, bytes_)
                else:
                    quads_2(source, at, runs, run_count, run_bytes, row, to, bytes_)

    return run


@kernel
def _on_512_bits(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_):
    i = 0
    while i < pixels:
        left, at, to = pixels - i, offsets + 8 * i, sums + ROW * i
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
        rows_16, rows_8, rows_2 = (make_rows(*shape, _QUADS_512) for shape in ((16, 1), (8, 2), (2, 2)))

        def on_512(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
            i = 0
            while i < rows:
                at, to = source + apart * i, sums + ROW * i
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
        rows_6, rows_4 = (make_rows(n, 2, scheme) for n in (6, 4))
        half = ROW // 2

        def on_256(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
            if kind != QUADS:
                dot_tile(path, kind, source, offsets, offsets, 1, row_bytes, weights, sums, rows, lanes, 1, 0)
                return
            for side in range(0, 4 * lanes, half):
                i = 0
                while i < rows:
                    left, at, to = rows - i, source + apart * i, sums + ROW * i + side
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
    quads_6, quads_4 = (make_dot(n, 2, quads) for n in (6, 4))
    pairs_6, pairs_4 = (make_dot(n, 2, pairs) for n in (6, 4))
    of_run, widened, byte_pairs = (make_dot(4, 2, s) for s in (_QUADS_OF_RUN, _QUADS_WIDENED, _BYTE_PAIRS_AVX2))
    half, emulates = ROW // 2, path is Avx2

    def run(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
        for side in range(0, 4 * lanes, half):
            i = 0
            while i < pixels:
                left, at, to, row = pixels - i, offsets + 8 * i, sums + ROW * i + side, weights + side
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


_add_quads_512 = make_add_events(16, quad_of_bytes(_QUADS_512.emit))
_add_quads_vnni = make_add_events(8, quad_of_bytes(_QUADS_VNNI.emit))
_add_quads_i8mm, _add_quads_neon = (make_add_events(4, quad_of_bytes(s.emit)) for s in (_QUADS_I8MM, _QUADS_NEON))
_add_quads_avx2 = make_add_events(8, quad_of_bytes(_emit_widened))
_add_pairs_avx2 = make_add_events(8, quad_of_pairs(_emit_pairs))
_add_pairs_anywhere = make_add_events(16, quad_of_pairs(_emit_pairs_anywhere))


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
