"""256 bits without VNNI, vpmaddubsw + vpaddw and vpmaddwd + vpaddd: 6 pixels x 16 channels in 12 of 16 registers.

Bytes are summed in signed 16-bit lanes wherever the weights prove that they fit.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from ..dot import dot_tile
from .event_loops import make_add_events, quad_of_bytes, quad_of_pairs
from .loops import INT8, INT16, Scheme, call, make_dot, make_rows, make_scheme, read_two_bytes, words
from .path import BYTE_PAIRS, LARGEST_LOOKED_UP, OUTPUTS, QUADS, QUADS_OF_RUN, QUADS_WIDENED, ROW, Kernel, Path, packed
from .tables import look_ups_in_256_bits

_FEWEST_OUTPUTS, _FEWEST_TAPS = 64, 9
"""That a table is looked up for, to be worth it; measured (benchmarks/look_ups.py), for 3x3 only."""


class Avx2(Path):
    FEATURES = ("avx2",)
    PROCESSOR = "haswell"

    def kind(self, taps, largest, width):
        """What a lane holds lies between the sums of the negative and of the positive weights of two inputs of each
        output, times the largest message."""
        limit = np.iinfo(np.int16).max // largest
        blocks = packed(taps, QUADS)
        by_run = blocks.reshape(len(blocks), taps.shape[1], -1, 2 * OUTPUTS, 2)
        parts = [part(by_run, 0) for part in (np.maximum, np.minimum)]
        # Of the positive and of the negative weights, (block, run, lane)
        of_runs = [part.sum(axis=2, dtype=np.int32).sum(axis=-1) for part in parts]
        if max(np.abs(sums.sum(axis=1)).max() for sums in of_runs) <= limit:
            return QUADS
        if max(np.abs(sums).max() for sums in of_runs) <= limit:
            return QUADS_OF_RUN
        largest_pair = max(np.abs(part.sum(axis=-1, dtype=np.int16)).max() for part in parts)
        return QUADS_WIDENED if largest_pair <= limit else BYTE_PAIRS

    def planes(self, weight, pixel, largest, at_points):
        planes = planes_of(weight, pixel, largest)
        return 0 if at_points and planes > 1 else planes

    @staticmethod
    def tile() -> Kernel:
        return tile_of_256_bits(QUADS_AVX2, _PAIRS, emulates=True)

    @staticmethod
    def rows() -> Kernel:
        return rows_of_256_bits(QUADS_AVX2)

    @staticmethod
    def events() -> Kernel:
        quads = make_add_events(8, quad_of_bytes(_emit_widened))
        pairs = make_add_events(8, quad_of_pairs(_emit_pairs))

        def add(path, kind, events, count, weights, accumulators):
            if kind == BYTE_PAIRS:
                pairs(events, count, weights, accumulators)
            else:
                quads(events, count, weights, accumulators)

        return add

    @staticmethod
    def look_ups() -> Kernel:
        return look_ups_in_256_bits()


def planes_of(weight: NDArray[np.int8], pixel: int, largest: int) -> int:
    """Planes of bits of weights that look_ups.py can do: one if none is 0; none if it cannot, or hardly gains."""
    outputs, rows, columns, inputs = weight.shape
    shaped = outputs % OUTPUTS == 0 and outputs >= _FEWEST_OUTPUTS and rows * columns >= _FEWEST_TAPS
    if not shaped or pixel % 16 or largest > LARGEST_LOOKED_UP or np.abs(weight).max() > 1:
        return 0
    planes = 1 if inputs == pixel and weight.all() else 2
    most = largest * max((weight == sign).sum(axis=(1, 2, 3)).max() for sign in (1, -1))
    return planes if most <= np.iinfo(np.uint16 if planes == 1 else np.int16).max else 0


# ----------------------------------------------------------------------- instructions


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


QUADS_AVX2 = make_scheme(8, _emit_short_sums, sums=ir.VectorType(INT16, 16), finish=_widen)
_QUADS_OF_RUN = QUADS_AVX2._replace(by_run=True)
_QUADS_WIDENED = make_scheme(8, _emit_widened)
_PAIRS = make_scheme(8, _emit_pairs)
_BYTE_PAIRS = make_scheme(8, _emit_pairs, read_two_bytes)


# ------------------------------------------------------------------------------ loops


def tile_of_256_bits(quads: Scheme, pairs: Scheme, emulates: bool) -> Kernel:
    """16 channels at a time, since 16 registers hold no more; groups of 6 and 4 pixels, with none wasted of 32."""
    quads_6, quads_4 = (make_dot(n, 2, quads) for n in (6, 4))
    pairs_6, pairs_4 = (make_dot(n, 2, pairs) for n in (6, 4))
    of_run, widened, byte_pairs = (make_dot(4, 2, s) for s in (_QUADS_OF_RUN, _QUADS_WIDENED, _BYTE_PAIRS))
    half = ROW // 2

    def tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
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

    return tile


def rows_of_256_bits(scheme: Scheme) -> Kernel:
    """As tile_of_256_bits, of rows of QUADS; of another kind as a tile."""
    rows_6, rows_4 = (make_rows(n, 2, scheme) for n in (6, 4))
    half = ROW // 2

    def rows(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
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

    return rows
