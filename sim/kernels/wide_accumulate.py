"""What a port reads, as the accumulators of a tile: exact integer sums, in plain Numba for any processor."""

from __future__ import annotations

import numpy as np

from . import plan as p
from .compiling import kernel
from .tiles import LANES


@kernel
def accumulate(port, model, arenas, tile, t, scratch, width):
    """Fill scratch.accumulator[pixel, lane]; `width`: pixels per row of the population that reads."""
    source = model.buffers[port.source]
    start = source.offset + tile.sample * source.sample + t * source.step
    if port.kind == p.CONVOLUTION:
        _convolve(port, model, arenas, source, start, tile, scratch)
    elif source.arena == 0:
        _read(port, model, arenas[0], source, start, tile, width, scratch.accumulator)
    elif source.arena == 1:
        _read(port, model, arenas[1], source, start, tile, width, scratch.accumulator)
    else:
        _read(port, model, arenas[2], source, start, tile, width, scratch.accumulator)


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
            if source.arena == 0:
                _gather(port, model.offsets, arenas[0], at, scratch.patch)
            elif source.arena == 1:
                _gather(port, model.offsets, arenas[1], at, scratch.patch)
            else:
                _gather(port, model.offsets, arenas[2], at, scratch.patch)
            first = i * LANES + c - tile.channel
            lanes = scratch.accumulator[first : first + after - c]
            _dot(scratch.patch[:size], model.weights, port.weight + c, port.weight_row, lanes)
        c = after


@kernel
def _gather(port, offsets, arena, at, patch):
    k = 0
    for run in range(port.run_count):
        begin = at + offsets[port.runs + run]
        for j in range(port.run_length):
            patch[k] = arena[begin + j]
            k += 1


@kernel
def _dot(patch, weights, first, row, lanes):
    """lanes[c] = sum over k of patch[k] * weights[k, c]; nothing is done for messages that are 0."""
    lanes[:] = 0
    for k in range(len(patch)):
        x = np.int64(patch[k])
        if x != 0:
            at = first + k * row
            for c in range(len(lanes)):
                lanes[c] += x * weights[at + c]


@kernel
def _read(port, model, arena, source, start, tile, width, accumulator):
    """Inputs that work channel by channel: a message as it is, a pool, a convolution over channels."""
    for i in range(tile.pixels):
        pixel = tile.pixel + i
        lanes = accumulator[i * LANES : i * LANES + tile.lanes]
        if port.kind == p.MESSAGE:
            at = start + model.offsets[port.pixels + pixel] + tile.channel
            for c in range(tile.lanes):
                lanes[c] = arena[at + c]
        elif port.kind == p.CHANNEL_CONVOLUTION:
            _convolve_channels(port, model.weights, arena, source, start, tile.channel, lanes)
        else:
            _pool(port, arena, source, start + tile.channel, pixel // width, pixel % width, lanes)


@kernel
def _convolve_channels(port, weights, arena, source, start, channel, lanes):
    for c in range(len(lanes)):
        total = np.int64(0)
        for j in range(port.kernel_x):
            read = channel + c + j - port.padding_x
            if 0 <= read < source.channels:
                total += np.int64(weights[port.weight + j]) * arena[start + read]
        lanes[c] = total


@kernel
def _pool(port, arena, source, start, y, x, lanes):
    """Over the part of the window inside the frame: padding adds nothing to a sum and never wins a maximum."""
    top, left = y * port.stride_y - port.padding_y, x * port.stride_x - port.padding_x
    lanes[:] = 0 if port.kind == p.SUM_POOL else np.iinfo(np.int32).min
    for row in range(max(top, 0), min(top + port.kernel_y, port.source_height)):
        for column in range(max(left, 0), min(left + port.kernel_x, port.source_width)):
            at = start + row * source.row + column * source.pixel
            if port.kind == p.SUM_POOL:
                for c in range(len(lanes)):
                    lanes[c] += arena[at + c]
            else:
                for c in range(len(lanes)):
                    lanes[c] = max(lanes[c], np.int64(arena[at + c]))
