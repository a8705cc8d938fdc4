"""What a synapse is to the kernels: offsets of patches and their runs, weights in the order in which they are read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..contract import ChannelConv, Conv2d, Linear, Op, SumPool, Synapse
from . import amx
from .dot import OUTPUTS
from .layout import Concatenated, Layout, Row, padded, rounded_up
from .paths import (
    BYTE_PAIRS,
    PAIRS,
    QUADS,
    QUADS_IN_TILES,
    QUADS_OF_RUN,
    QUADS_WIDENED,
    Amx,
    Avx2,
    NeonDot,
    Path,
    Portable,
)
from .records import CHANNEL_CONVOLUTION, CONVOLUTION, MAX_POOL, SUM_POOL
from .tiles import PIXELS


class Pools:
    """The pools of a plan; weights are in the order that the kernels of `path` read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parameters, self.weights = Concatenated(np.int32), Concatenated(np.int8)
        self.offsets, self.fanouts = Concatenated(np.int64), Concatenated(np.int64)
        self.lookups = Concatenated(np.int32)


def synapse_fields(synapse: Synapse, layout: Layout, pools: Pools, narrow: bool) -> Row:
    """Fields of records.PORT for a port that reads a synapse."""
    row: Row = {"source": layout.read_by(synapse)}
    op: Op = synapse.op
    if isinstance(op, Conv2d):
        return row | _convolution(synapse, op, layout, pools, narrow)
    if isinstance(op, Linear):
        return row | _linear(synapse, op, layout, pools, narrow)
    if isinstance(op, ChannelConv):
        row |= {"kind": CHANNEL_CONVOLUTION, "weight": pools.weights.add(op.weight)}
        return row | {"padding_x": op.padding, "kernel_x": len(op.weight)}
    height, width = layout.shapes[synapse.source][1:]
    row |= {"kind": SUM_POOL if isinstance(op, SumPool) else MAX_POOL, "source_height": height, "source_width": width}
    for name, (y, x) in {"kernel": op.kernel, "stride": op.stride, "padding": op.padding}.items():
        row |= {f"{name}_y": y, f"{name}_x": x}
    return row


def pixel_offsets(name: str, layout: Layout, pools: Pools) -> int:
    """Offsets of all pixels of a buffer from its first."""
    buffer, (_, height, width) = layout.buffers[name], layout.shapes[name]
    rows = np.arange(height)[:, None] * buffer["row"]
    return pools.offsets.add(rows + np.arange(width)[None, :] * buffer["pixel"])


def _convolution(synapse: Synapse, op: Conv2d, layout: Layout, pools: Pools, narrow: bool) -> Row:
    buffer, (_, height, width) = layout.buffers[synapse.source], layout.shapes[synapse.name]
    outputs, inputs, kernel_y, kernel_x = op.weight.shape
    corner = -op.padding[0] * buffer["row"] - op.padding[1] * buffer["pixel"]
    rows = corner + np.arange(height)[:, None] * op.stride[0] * buffer["row"]
    pixels = rows + np.arange(width)[None, :] * op.stride[1] * buffer["pixel"]
    read = inputs if op.groups > 1 else buffer["pixel"]
    taps = np.zeros((kernel_y, kernel_x, read, outputs), dtype=np.int8)
    taps[:, :, :inputs] = op.weight.transpose(2, 3, 1, 0)
    contiguous = op.groups == 1 and op.dilation[1] == 1
    columns = 1 if contiguous else kernel_x
    runs = np.arange(kernel_y)[:, None] * op.dilation[0] * buffer["row"]
    runs = runs + np.arange(columns)[None, :] * op.dilation[1] * buffer["pixel"]
    row = _patches(pixels, runs, read * kernel_x // columns, pools)
    row |= {"group_inputs": read if op.groups > 1 else 0, "group_outputs": outputs // op.groups}
    return row | _weights(taps.reshape(-1, outputs), synapse, row, layout, pools, narrow)


def _linear(synapse: Synapse, op: Linear, layout: Layout, pools: Pools, narrow: bool) -> Row:
    """A convolution whose kernel is the whole frame: one run per row of the source."""
    buffer, (channels, height, width) = layout.buffers[synapse.source], layout.shapes[synapse.source]
    outputs = op.weight.shape[0]
    taps = np.zeros((height, width, buffer["pixel"], outputs), dtype=np.int8)
    taps[:, :, :channels] = op.weight.reshape(outputs, channels, height, width).transpose(2, 3, 1, 0)
    row = _patches(np.zeros(1), np.arange(height) * buffer["row"], width * buffer["pixel"], pools)
    row |= {"group_inputs": 0, "group_outputs": outputs}
    return row | _weights(taps.reshape(-1, outputs), synapse, row, layout, pools, narrow)


def _patches(pixels: np.ndarray, runs: np.ndarray, run_length: int, pools: Pools) -> Row:
    # Whole groups of pixels are computed at once: the table goes on with its last pixel.
    offsets = np.concatenate([pixels.reshape(-1), np.repeat(pixels.reshape(-1)[-1:], PIXELS)])
    row = {"kind": CONVOLUTION, "pixels": pools.offsets.add(offsets), "runs": pools.offsets.add(runs)}
    return row | {"run_count": runs.size, "run_length": run_length}


def _weights(taps: NDArray[np.int8], synapse: Synapse, patch: Row, layout: Layout, pools: Pools, narrow: bool) -> Row:
    """Weights (patch element, output); for narrow populations as dot.py reads them, in blocks of OUTPUTS."""
    if not narrow:
        return {"weight": pools.weights.add(taps), "weight_row": taps.shape[1]}
    source = synapse.source
    bytes_ = layout.buffers[source]["arena"] == 0
    runs, width = patch["run_count"], layout.shapes[synapse.name][2]
    kind = _dot_kind(pools.path, taps, runs, layout.largest[source], width) if bytes_ else PAIRS
    if kind == QUADS_IN_TILES:
        taps = amx.padded_runs(taps, runs)
    together, dtype = (2, np.int16) if kind in (PAIRS, BYTE_PAIRS) else (4, np.int8)
    blocks = rounded_up(taps.shape[1], OUTPUTS) // OUTPUTS
    apart = padded(taps, blocks * OUTPUTS).reshape(-1, together, blocks, OUTPUTS)
    packed = np.ascontiguousarray(apart.transpose(2, 0, 3, 1), dtype=dtype).view(np.int8)
    row = {"dot": kind, "weight": pools.weights.add(packed), "weight_row": packed.size // blocks}
    return row | {"run_weights": packed.size // blocks // runs}


def _dot_kind(path: Path, taps: NDArray[np.int8], runs: int, largest: int, width: int) -> int:
    """How the kernels of `path` do a convolution of bytes, none beyond `largest`, exactly.

    AVX2 adds products in signed 16-bit lanes, two for each output: what a lane holds lies between the sums of its
    negative and of its positive weights, times the largest message.
    """
    if isinstance(path, Portable) or (isinstance(path, NeonDot) and largest > np.iinfo(np.int8).max):
        return BYTE_PAIRS
    if isinstance(path, Amx) and amx.worthwhile(width, len(taps) // runs):
        return QUADS_IN_TILES
    if not isinstance(path, Avx2):
        return QUADS
    limit = np.iinfo(np.int16).max // largest
    parts = [part(taps, 0).reshape(runs, -1, 2, 2, taps.shape[1]) for part in (np.maximum, np.minimum)]
    # Of the positive and of the negative weights, (run, quad, lane, output): sums of the two messages of a lane
    pairs = [np.add(part[..., 0, :], part[..., 1, :], dtype=np.int16) for part in parts]
    of_runs = [pair.sum(axis=1, dtype=np.int32) for pair in pairs]
    if max(np.abs(sums.sum(axis=0)).max() for sums in of_runs) <= limit:
        return QUADS
    if max(np.abs(sums).max() for sums in of_runs) <= limit:
        return QUADS_OF_RUN
    return QUADS_WIDENED if max(np.abs(pair).max() for pair in pairs) <= limit else BYTE_PAIRS
