"""VNNI in 256 bits, vpdpbusd and vpdpwssd, without AVX-512: registers as in avx2.py."""

from __future__ import annotations

from .avx2 import planes_of, rows_of_256_bits, tile_of_256_bits
from .event_loops import make_add_events, quad_of_bytes
from .loops import instruction, make_scheme
from .path import Kernel, Path
from .tables import look_ups_in_256_bits

QUADS_VNNI = make_scheme(8, instruction("llvm.x86.avx512.vpdpbusd.256"))
_PAIRS_VNNI = make_scheme(8, instruction("llvm.x86.avx512.vpdpwssd.256"))


class AvxVnni(Path):
    FEATURES = ("avxvnni", "avx2")
    PROCESSOR = "alderlake"

    def planes(self, weight, pixel, largest, at_points):
        planes = 0 if at_points else planes_of(weight, pixel, largest)
        return planes if planes == 1 else 0

    @staticmethod
    def tile() -> Kernel:
        return tile_of_256_bits(QUADS_VNNI, _PAIRS_VNNI, emulates=False)

    @staticmethod
    def rows() -> Kernel:
        return rows_of_256_bits(QUADS_VNNI)

    @staticmethod
    def events() -> Kernel:
        add = make_add_events(8, quad_of_bytes(QUADS_VNNI.emit))
        return lambda path, kind, events, count, weights, accumulators: add(events, count, weights, accumulators)

    @staticmethod
    def look_ups() -> Kernel:
        return look_ups_in_256_bits()
