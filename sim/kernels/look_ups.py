"""Convolutions of 4-bit messages with 1-bit or ternary weights by table look-ups, where a path has them.

The sums of all subsets of four messages of a pixel are a table of 16 bytes. It serves every tap and every output that
reads the pixel: the signs of four weights of an output are a look-up's index, in one plane of bits if all weights are
+1 or -1 (twice what +1 meets, less the sum of all messages), in two, +1 and -1, if some are 0. Tables of what a tile
reads are made for its first block of channels, and kept for all its steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiling import kernel
from .dot import look_up
from .lanes import address
from .paths.path import OUTPUTS
from .records import buffer_row
from .tiles import LANES, PIXELS

_WHOLE = 4 * PIXELS
"""Bytes for the sums of all messages of a tile's patches, of a step."""
_TABLE = 4
"""Bytes of tables for a message."""


def packed_bits(taps: NDArray[np.int8], planes: int) -> NDArray[np.uint8]:
    """Weights (output, run, element) as paths look them up: (block of OUTPUTS, four groups, plane, group, byte).

    A byte is a group of four inputs of an output; outputs are in the order 0, 16, 1, 17, ...
    """
    groups = taps.reshape(-1, OUTPUTS, taps[0].size // 16, 4, 4).transpose(0, 2, 3, 1, 4)
    bits = [((groups == sign) << np.arange(4)).sum(axis=-1) for sign in (1, -1)[:planes]]
    order = np.arange(OUTPUTS).reshape(2, -1).T.reshape(-1)
    return np.stack(bits, 2)[..., order].astype(np.uint8)


def reach(pixels: NDArray[np.int64], runs: NDArray[np.int64], run_length: int) -> int:
    """Most messages from the first to the last that a tile reads."""
    last = np.append(pixels[PIXELS - 1 :: PIXELS], pixels[-1])[: -(-len(pixels) // PIXELS)]
    return int((last - pixels[::PIXELS]).max() + runs.max() + run_length)


def memory_size(steps: int, reach: int) -> int:
    """Bytes of tables for a tile and all its steps, of tiles that read no more than `reach` messages."""
    return steps * (_WHOLE + _TABLE * reach)


@kernel
def add_up(path, port, model, arenas, tile, steps, t, fresh, scratch):
    """Accumulators of a tile; unless `fresh`, its tables are there from a block before."""
    source, offsets = buffer_row(model.buffers, port.source), model.offsets
    pixels, runs = port.pixels + tile.pixel, port.runs
    first, last = offsets[pixels], offsets[pixels + tile.pixels - 1] + offsets[runs + port.run_count - 1]
    at = address(arenas.bytes, source.offset + tile.sample * source.sample + t * source.step + first)
    tables = address(scratch.points, steps * _WHOLE + t * _TABLE * port.look_reach)
    weights = address(model.weights, port.look_weight + tile.channel // LANES * port.look_row)
    whole, sums = address(scratch.points, t * _WHOLE), address(scratch.accumulator32, 0)
    look_up(
        path, port.look_planes, at, last + port.run_length - first, fresh, tables, address(offsets, pixels),
        address(offsets, runs), port.run_count, port.run_length, weights, whole, sums, tile.pixels,
    )  # fmt: skip
