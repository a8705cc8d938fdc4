"""What every path says of itself: the base class, and how a convolution's patch can meet its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

OUTPUTS = 32
"""Output channels of a tile: those of a block of weights."""
ROW = 4 * OUTPUTS
"""Bytes of weights that a position meets, and of a pixel's accumulators."""
QUADS, PAIRS, BYTE_PAIRS, QUADS_OF_RUN, QUADS_WIDENED, QUADS_IN_TILES = 1, 2, 3, 4, 5, 6
"""How a convolution's patch meets its weights: 4 unsigned bytes with 4 signed ones; 2 signed 16-bit with 2; 2 unsigned
bytes, widened, with 2 signed 16-bit. Where 16 bits do not hold the sums of a whole patch: as QUADS, but widened after
each run, or at once. In AMX's tiles: as QUADS, each run's weights followed by zeros up to a tile's row."""

LARGEST_LOOKED_UP = 15
"""Message of which the sum of four fits four times into 8 bits."""

Kernel = Callable[..., Any]


class _Tag(NamedTuple):
    """Compiled code tells paths apart by their class, and takes no tuple without a field."""

    field: int = 0


class Path(_Tag):
    """An instruction set that convolutions are written for; what plans ask of it, and its kernels.

    `tile`, `rows`, `events` and `look_ups` are dot_tile, dot_rows, add_events and look_up of dot.py: functions for
    Numba, of the same arguments, and made when they are asked for, since the processor that Numba compiles for is
    chosen once all paths are known.

    Attributes:
        FEATURES: of a processor that has the path, as LLVM calls them.
        PROCESSOR: LLVM's name of one that has no more than the path; "" where nothing has to be left out.
        EVENT_SHARE: largest share of non-zero quads for which a list of events is faster; measured by
            benchmarks/speed.py.
        BLOCK_BYTES: messages of all populations that a thread holds at once, unless one sample needs more.
    """

    FEATURES: ClassVar[tuple[str, ...]] = ()
    PROCESSOR: ClassVar[str] = ""
    EVENT_SHARE: ClassVar[float] = 0.25
    BLOCK_BYTES: ClassVar[int] = 40 << 20

    def may_be_used(self) -> bool:
        """Whether the system lets a process use what the processor has."""
        return True

    def kind(self, taps: NDArray[np.int8], largest: int, width: int) -> int:
        """How a convolution of bytes, none beyond `largest`, is done, exactly.

        Args:
            taps: weights (output, run, element).
            width: of an image; 1 where its pixels are not row by row.
        """
        return QUADS

    def prefers_points(self, width: int, channels: int) -> bool:
        """Whether 3x3 convolutions for images of a width are faster with fewer multiplications (winograd.py)."""
        return True

    def planes(self, weight: NDArray[np.int8], pixel: int, largest: int, at_points: bool) -> int:
        """Planes of bits of a convolution's weights where look-ups (look_ups.py) are faster than dot products, else 0.

        Args:
            weight: (output, row, column, input); of `pixel` messages beside each other, none beyond `largest`.
            at_points: whether they are to be faster than winograd.py too.
        """
        return 0

    @staticmethod
    def tile() -> Kernel:
        raise NotImplementedError

    @staticmethod
    def rows() -> Kernel:
        """By default as a tile of rows that are one run each."""
        from ..dot import dot_tile

        def rows(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
            dot_tile(path, kind, source, offsets, offsets, 1, row_bytes, weights, sums, rows, lanes, 1, 0)

        return rows

    @staticmethod
    def events() -> Kernel:
        raise NotImplementedError

    @staticmethod
    def look_ups() -> Kernel:
        """By default nothing: no plan asks for them."""

        def look_up(
            path,
            planes,
            source,
            count,
            fresh,
            tables,
            offsets,
            runs,
            run_count,
            run_bytes,
            weights,
            whole,
            sums,
            pixels,
        ):
            pass

        return look_up


def packed(taps: NDArray[np.int8], kind: int) -> NDArray[np.int8]:
    """Weights (output, run, element) in blocks of OUTPUTS, as paths read them: 32 bits of each output in turn."""
    kept = np.ascontiguousarray(taps, np.int16 if kind in (PAIRS, BYTE_PAIRS) else np.int8)
    words = kept.reshape(len(taps), -1).view(np.int32)
    blocks = np.zeros((-(-len(taps) // OUTPUTS), words.shape[1], OUTPUTS), np.int32)
    for block, first in zip(blocks, range(0, len(taps), OUTPUTS), strict=True):
        part = words[first : first + OUTPUTS]
        block[:, : len(part)] = part.T
    return blocks.view(np.int8)
