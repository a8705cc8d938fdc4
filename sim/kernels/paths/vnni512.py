"""AVX-512 with VNNI, vpdpbusd and vpdpwssd: 8 pixels x 32 channels, or 16 x 16, in 16 of 32 registers."""

from __future__ import annotations

from functools import cache

from ..compiling import kernel
from ..lanes import WIDTH
from .event_loops import make_add_events, quad_of_bytes
from .loops import instruction, make_dot, make_rows, make_scheme
from .path import QUADS, ROW, Kernel, Path

QUADS_512 = make_scheme(16, instruction("llvm.x86.avx512.vpdpbusd.512"))
_PAIRS_512 = make_scheme(16, instruction("llvm.x86.avx512.vpdpwssd.512"))


class Vnni512(Path):
    FEATURES = ("avx512vnni", "avx512bw")

    @staticmethod
    def tile() -> Kernel:
        on_512 = on_512_bits()

        def tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
            on_512(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_)

        return tile

    @staticmethod
    def rows() -> Kernel:
        rows_16, rows_8, rows_2 = (make_rows(*shape, QUADS_512) for shape in ((16, 1), (8, 2), (2, 2)))

        def rows(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
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

        return rows

    @staticmethod
    def events() -> Kernel:
        return events_512()


@cache
def on_512_bits() -> Kernel:
    """A tile, on any path that has these instructions."""
    quads_8, quads_2 = (make_dot(n, 2, QUADS_512) for n in (8, 2))
    pairs_8, pairs_2 = (make_dot(n, 2, _PAIRS_512) for n in (8, 2))
    # Where a tile has 16 channels or fewer, twice the pixels in the same registers.
    quads_16, pairs_16 = (make_dot(16, 1, scheme) for scheme in (QUADS_512, _PAIRS_512))

    @kernel
    def on_512(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_):
        i = 0
        while i < pixels:
            left, at, to = pixels - i, offsets + 8 * i, sums + ROW * i
            if kind == QUADS:
                if left <= 2:
                    quads_2(source, at, runs, run_count, run_bytes, weights, to, bytes_)
                elif lanes <= WIDTH and left > 8:
                    quads_16(source, at, runs, run_count, run_bytes, weights, to, bytes_)
                else:
                    quads_8(source, at, runs, run_count, run_bytes, weights, to, bytes_)
            elif left <= 2:
                pairs_2(source, at, runs, run_count, run_bytes, weights, to, bytes_)
            elif lanes <= WIDTH and left > 8:
                pairs_16(source, at, runs, run_count, run_bytes, weights, to, bytes_)
            else:
                pairs_8(source, at, runs, run_count, run_bytes, weights, to, bytes_)
            i += 2 if left <= 2 else 16 if lanes <= WIDTH and left > 8 else 8

    return on_512


def events_512() -> Kernel:
    """A list of events, on any path that has these instructions."""
    add = make_add_events(16, quad_of_bytes(QUADS_512.emit))
    return lambda path, kind, events, count, weights, accumulators: add(events, count, weights, accumulators)
