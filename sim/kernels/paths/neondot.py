"""Arm with products of signed bytes, sdot: for messages of at most 7 bits; registers as in neoni8mm.py."""

from __future__ import annotations

import numpy as np

from .event_loops import make_add_events, quad_of_bytes
from .neoni8mm import quads_of, tile_of
from .path import BYTE_PAIRS, QUADS, Kernel, Path
from .portable import events_anywhere

QUADS_NEON = quads_of("sdot")


class NeonDot(Path):
    FEATURES = ("dotprod",)

    def kind(self, taps, largest, width):
        return QUADS if largest <= np.iinfo(np.int8).max else BYTE_PAIRS

    @staticmethod
    def tile() -> Kernel:
        return tile_of(QUADS_NEON)

    @staticmethod
    def events() -> Kernel:
        quads, pairs = make_add_events(4, quad_of_bytes(QUADS_NEON.emit)), events_anywhere()

        def add(path, kind, events, count, weights, accumulators):
            if kind == BYTE_PAIRS:
                pairs(events, count, weights, accumulators)
            else:
                quads(events, count, weights, accumulators)

        return add
