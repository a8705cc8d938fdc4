"""What a synapse is to the kernels: offsets of patches and their runs, weights in the order in which they are read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..contract import ChannelConv, Conv2d, Linear, Op, SumPool, Synapse
from . import look_ups, winograd
from .layout import Concatenated, Layout, Row, padded, rounded_up
from .paths import amx
from .paths.path import OUTPUTS, PAIRS, QUADS, QUADS_IN_TILES, QUADS_OF_RUN, Path, packed
from .records import CHANNEL_CONVOLUTION, CONVOLUTION, MAX_POOL, SUM_POOL
from .tiles import PIXELS

Order = NDArray[np.int64] | None
"""Of a population's pixels, where it is not row by row."""


class Pools:
    """The pools of a plan; weights are in the order that the kernels of `path` read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parameters, self.weights = Concatenated(np.int32), Concatenated(np.int8)
        self.offsets, self.fanouts = Concatenated(np.int64), Concatenated(np.int64)
        self.lookups = Concatenated(np.int32)


def synapse_fields(
    synapse: Synapse, layout: Layout, pools: Pools, narrow: bool, order: Order = None, at_points: bool = False
) -> Row:
    """Fields of records.PORT for a port that reads a synapse, as winograd.py does if `at_points`."""
    row: Row = {"source": layout.read_by(synapse)}
    op: Op = synapse.op
    if isinstance(op, Conv2d):
        return row | _convolution(synapse, op, layout, pools, narrow, order, at_points)
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


def pixel_offsets(name: str, layout: Layout, pools: Pools, order: Order = None) -> int:
    """Offsets of all pixels of a buffer from its first."""
    buffer, (_, height, width) = layout.buffers[name], layout.shapes[name]
    rows = np.arange(height)[:, None] * buffer["row"]
    return pools.offsets.add(in_order(rows + np.arange(width)[None, :] * buffer["pixel"], order))


def in_order(pixels: np.ndarray, order: Order) -> np.ndarray:
    """Of all pixels, (H, W) or (H*W,), something each: (H*W,) in the order."""
    return pixels.reshape(-1) if order is None else pixels.reshape(-1)[order]


def _convolution(
    synapse: Synapse, op: Conv2d, layout: Layout, pools: Pools, narrow: bool, order: Order, at_points: bool
) -> Row:
    buffer, (_, height, width) = layout.buffers[synapse.source], layout.shapes[synapse.name]
    outputs, inputs, kernel_y, kernel_x = op.weight.shape
    corner = -op.padding[0] * buffer["row"] - op.padding[1] * buffer["pixel"]
    rows = corner + np.arange(height)[:, None] * op.stride[0] * buffer["row"]
    pixels = rows + np.arange(width)[None, :] * op.stride[1] * buffer["pixel"]
    read = inputs if op.groups > 1 else buffer["pixel"]
    taps = np.zeros((outputs, kernel_y, kernel_x, read), dtype=np.int8)
    taps[..., :inputs] = op.weight.transpose(0, 2, 3, 1)
    contiguous = op.groups == 1 and op.dilation[1] == 1
    columns = 1 if contiguous else kernel_x
    runs = np.arange(kernel_y)[:, None] * op.dilation[0] * buffer["row"]
    runs = runs + np.arange(columns)[None, :] * op.dilation[1] * buffer["pixel"]
    row = _patches(in_order(pixels, order), runs, read * kernel_x // columns, pools)
    row |= {"group_inputs": read if op.groups > 1 else 0, "group_outputs": outputs // op.groups}
    if at_points:
        row |= _points(taps, layout.largest[synapse.source], pools)
    elif narrow and order is None and contiguous and buffer["arena"] == 0:
        row |= _look_ups(taps, layout.largest[synapse.source], inputs, pixels, runs, pools)
    tiles = width if order is None else 1
    return row | _weights(taps.reshape(outputs, runs.size, -1), synapse, row, layout, pools, narrow, tiles)


def _linear(synapse: Synapse, op: Linear, layout: Layout, pools: Pools, narrow: bool) -> Row:
    """A convolution whose kernel is the whole frame: one run per row of the source."""
    buffer, (channels, height, width) = layout.buffers[synapse.source], layout.shapes[synapse.source]
    outputs = op.weight.shape[0]
    taps = np.zeros((outputs, height, width, buffer["pixel"]), dtype=np.int8)
    taps[..., :channels] = op.weight.reshape(outputs, channels, height, width).transpose(0, 2, 3, 1)
    row = _patches(np.zeros(1), np.arange(height) * buffer["row"], width * buffer["pixel"], pools)
    row |= {"group_inputs": 0, "group_outputs": outputs}
    return row | _weights(taps.reshape(outputs, height, -1), synapse, row, layout, pools, narrow, 1)


def _points(taps: NDArray[np.int8], largest: int, pools: Pools) -> Row:
    """What winograd.py reads of a 3x3 convolution of messages up to `largest`."""
    points, corrections = winograd.weights_at_points(taps), winograd.corrections(taps, largest)
    kind = pools.path.kind(points, winograd.largest_at_points(largest), amx.ROWS)
    laid_out, corrections = packed(points, kind), padded(corrections, rounded_up(len(taps), OUTPUTS))
    return {
        "point_channels": points.shape[2],
        "point_dot": QUADS if kind == QUADS_OF_RUN else kind,
        "point_weight": pools.weights.add(laid_out),
        "point_row": laid_out.size // len(laid_out) // winograd.POINTS,
        "point_rows": pools.offsets.add(np.arange(2 * PIXELS) * points.shape[2]),
        "point_added": 2 * largest,
        "point_corrections": pools.parameters.add(corrections),
        "point_corrections_row": corrections.shape[1],
    }


def _look_ups(
    taps: NDArray[np.int8], largest: int, inputs: int, pixels: np.ndarray, runs: np.ndarray, pools: Pools
) -> Row:
    """What look_ups.py reads of a convolution, where that is faster on the path."""
    if not (planes := pools.path.planes(taps[..., :inputs], taps.shape[3], largest, False)):
        return {}
    taps = taps.reshape(len(taps), runs.size, -1)
    bits = look_ups.packed_bits(taps, planes)
    return {
        "look_planes": planes,
        "look_weight": pools.weights.add(bits.view(np.int8)),
        "look_row": bits[0].size,
        "look_reach": look_ups.reach(pixels.reshape(-1), runs.reshape(-1), taps.shape[2]),
    }


def _patches(pixels: np.ndarray, runs: np.ndarray, run_length: int, pools: Pools) -> Row:
    # Whole groups of pixels are computed at once: the table goes on with its last pixel.
    offsets = np.concatenate([pixels.reshape(-1), np.repeat(pixels.reshape(-1)[-1:], PIXELS)])
    row = {"kind": CONVOLUTION, "pixels": pools.offsets.add(offsets), "runs": pools.offsets.add(runs)}
    return row | {"run_count": runs.size, "run_length": run_length}


def _weights(
    taps: NDArray[np.int8], synapse: Synapse, patch: Row, layout: Layout, pools: Pools, narrow: bool, width: int
) -> Row:
    """Weights (output, run, element); in the order element by element for 64 bits, else as paths read them.

    `width`: of an image; 1 where its pixels are not row by row.
    """
    if not narrow:
        return {"weight": pools.weights.add(taps.reshape(len(taps), -1).T), "weight_row": len(taps)}
    source = synapse.source
    bytes_ = layout.buffers[source]["arena"] == 0
    kind = pools.path.kind(taps, layout.largest[source], width) if bytes_ else PAIRS
    if kind == QUADS_IN_TILES:
        taps = amx.padded_runs(taps)
    blocks = packed(taps, kind)
    row = {"dot": kind, "weight": pools.weights.add(blocks), "weight_row": blocks.size // len(blocks)}
    return row | {"run_weights": blocks.size // len(blocks) // patch["run_count"]}
