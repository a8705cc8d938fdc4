"""What a port reads, as the accumulators of a tile: exact integer sums, in plain Numba for any processor."""

from __future__ import annotations

import numpy as np

from . import plan as p
from .compiling import kernel
from .plan import buffer_row
from .tiles import LANES, message_at


@kernel
def accumulate(port, model, arenas, tile, t, scratch, width):
    """Fill scratch.accumulator[pixel, lane]; `width`: pixels per row of the population that reads."""
    source = buffer_row(model.buffers, port.source)
    start = source.offset + tile.sample * source.sample + t * source.step
    if port.kind == p.CONVOLUTION:
        _convolve(port, model, arenas, source, start, tile, scratch)
    else:
        _read(port, model, arenas, source, start, tile, width, scratch.accumulator)


@kernel
def _convolve(port, model, arenas, source, start, tile, scratch):
    """Group by group, each pixel's patch is gathered once and meets the lanes of the group."""
    size = port.run_count * port.run_length
    end = tile.channel + tile.lanes
    c = tile.channel
    while c < end:
        group = c // port.group_outputs
        after = min((group + 1) * port.group_outputs, end)
        for i in range(tile.pixels):
            at = start + model.offsets[port.pixels + tile.pixel + i] + group * port.group_inputs
            _gather(port, model.offsets, arenas, source.arena, at, scratch.patch)
            first = i * LANES + c - tile.channel
            _dot(
                scratch.patch,
                size,
                model.weights,
                port.weight + c,
                port.weight_row,
                scratch.accumulator,
                first,
                after - c,
            )
        c = after


@kernel
def _gather(port, offsets, arenas, arena, at, patch):
    k = 0
    for run in range(port.run_count):
        begin = at + offsets[port.runs + run]
        for j in range(port.run_length):
            patch[k] = message_at(arenas, arena, begin + j)
            k += 1


@kernel
def _dot(patch, size, weights, at, row, accumulator, first, lanes):
    """accumulator[first + c] = sum over k of patch[k] * weights[k, c]; nothing is done for messages that are 0."""
    for c in range(lanes):
        accumulator[first + c] = 0
    for k in range(size):
        x = np.int64(patch[k])
        if x != 0:
            for c in range(lanes):
                accumulator[first + c] += x * weights[at + k * row + c]


@kernel
def _read(port, model, arenas, source, start, tile, width, accumulator):
    """Inputs that work channel by channel: a message as it is, a pool, a convolution over channels."""
    for i in range(tile.pixels):
        pixel = tile.pixel + i
        if port.kind == p.MESSAGE:
            at = start + model.offsets[port.pixels + pixel] + tile.channel
            for c in range(tile.lanes):
                accumulator[i * LANES + c] = message_at(arenas, source.arena, at + c)
        elif port.kind == p.CHANNEL_CONVOLUTION:
            _convolve_channels(port, model.weights, arenas, source, start, tile, accumulator, i * LANES)
        else:
            _pool(port, arenas, source, start, tile, pixel // width, pixel % width, accumulator, i * LANES)


@kernel
def _convolve_channels(port, weights, arenas, source, start, tile, accumulator, first):
    for c in range(tile.lanes):
        total = np.int64(0)
        for j in range(port.kernel_x):
            read = tile.channel + c + j - port.padding_x
            if 0 <= read < source.channels:
                total += np.int64(weights[port.weight + j]) * message_at(arenas, source.arena, start + read)
        accumulator[first + c] = total


@kernel
def _pool(port, arenas, source, start, tile, y, x, accumulator, first):
    """Over the part of the window inside the frame: padding adds nothing to a sum and never wins a maximum."""
    top, left = y * port.stride_y - port.padding_y, x * port.stride_x - port.padding_x
    for c in range(tile.lanes):
        accumulator[first + c] = 0 if port.kind == p.SUM_POOL else -(1 << 31)
    for row in range(max(top, 0), min(top + port.kernel_y, port.source_height)):
        for column in range(max(left, 0), min(left + port.kernel_x, port.source_width)):
            at = start + row * source.row + column * source.pixel + tile.channel
            for c in range(tile.lanes):
                value = message_at(arenas, source.arena, at + c)
                if port.kind == p.SUM_POOL:
                    accumulator[first + c] += value
                else:
                    accumulator[first + c] = max(accumulator[first + c], value)
