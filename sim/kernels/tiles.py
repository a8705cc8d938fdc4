"""What the kernels call a tile, and where a population keeps it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compiling import kernel

PIXELS = 32
LANES = 32
WEIGHTS_IN_CACHE = 1 << 20
"""Bytes of weights that stay in a core's second-level cache beside the messages."""


class Tile(NamedTuple):
    """Pixels [pixel, pixel + pixels) and channels [channel, channel + lanes) of one sample."""

    sample: int
    pixel: int
    pixels: int
    channel: int
    lanes: int


@kernel
def message_offset(population, buffer, offsets, tile, t, i):
    """Where the messages of the tile's i-th pixel at step t start in the buffer's arena."""
    pixel = offsets[population.positions + tile.pixel + i]
    return buffer.offset + tile.sample * buffer.sample + t * buffer.step + pixel + tile.channel


@kernel
def count_offset(population, offsets, tile, t, i):
    """Where the non-zero messages of the tile's i-th pixel at step t are counted, by class and channel."""
    row = (tile.sample * population.steps + t) * population.class_count
    row += offsets[population.classes + tile.pixel + i]
    return row * population.count_row + tile.channel


@kernel
def message_at(arenas, arena, index):
    """One message, whatever the arena."""
    if arena == 0:
        return np.int64(arenas.bytes[index])
    if arena == 1:
        return np.int64(arenas.shorts[index])
    return np.int64(arenas.words[index])
