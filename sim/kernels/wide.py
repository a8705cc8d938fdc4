"""Tiles in 64 bits, in plain Numba: every population that does not provably fit 32-bit lanes (widths.py decides).

The equations are those of docs/numerics.md, one by one; narrow.py has the same for vectors.
"""

from __future__ import annotations

import numpy as np

from . import records as p
from .compiling import inlined, kernel
from .neurons import READOUT, fire_wide
from .records import buffer_row, port_row
from .rounding import parameter_at, rshift
from .tiles import LANES, count_offset, message_at, message_offset


@inlined
def run_tile(population, model, arenas, tile, scratch, outcome, saturations, begin, end):
    """Steps [begin, end) of a tile; counts limited integers from `saturations` on."""
    saturated = outcome.saturations
    if begin == 0 and population.states > 0:
        _begin(population.initial_v, model, tile, scratch.v)
        _begin(population.initial_d, model, tile, scratch.d)
    for t in range(begin, end):
        _start(population, model, tile, t, scratch.current)
        for index in range(population.first_port, population.first_port + population.ports):
            port = port_row(model.ports, index)
            _accumulate(port, model, arenas, tile, t, scratch, population.width)
            _add_port(port, model, tile, t, scratch.accumulator, scratch.current)
        if population.dynamics == READOUT:
            for c in range(tile.lanes):
                outcome.logits[tile.sample * model.classes + tile.channel + c] += scratch.current[c]
            continue
        if population.gate >= 0:
            _gate(population, model, arenas, tile, t, scratch.current)
        saturated[saturations + 2 * t] += _limit_state(model, tile, scratch.current)
        saturated[saturations + 2 * t] += fire_wide(population, model, tile, t, scratch)
        sent = _send(population, model, arenas, tile, t, scratch.current, outcome.counts)
        saturated[saturations + 2 * t + 1] += sent


@kernel
def _begin(initial, model, tile, state):
    """A state before the first step."""
    values = parameter_at(initial, 0, tile)
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            state[i * LANES + c] = model.parameters[values + c]


# --------------------------------------------------------------------------- accumulators


@kernel
def _accumulate(port, model, arenas, tile, t, scratch, width):
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


# ------------------------------------------------------------------------------- currents


@kernel
def _start(population, model, tile, t, current):
    """current = bias."""
    bias = parameter_at(population.bias, t, tile)
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            current[i * LANES + c] = model.parameters[bias + c]


@kernel
def _add_port(port, model, tile, t, accumulator, current):
    """current += rshift(multiplier * accumulator, shift)."""
    multiplier = parameter_at(port.multiplier, t, tile)
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            product = model.parameters[multiplier + c] * accumulator[i * LANES + c]
            current[i * LANES + c] += rshift(product, port.shift)


@kernel
def _gate(population, model, arenas, tile, t, current):
    """current = rshift(current * gate, shift) + bias."""
    source = buffer_row(model.buffers, population.gate)
    at = source.offset + tile.sample * source.sample + t * source.step + tile.channel
    bias = parameter_at(population.gate_bias, t, tile)
    for c in range(tile.lanes):
        factor = message_at(arenas, source.arena, at + c)
        for i in range(tile.pixels):
            gated = rshift(current[i * LANES + c] * factor, population.gate_shift)
            current[i * LANES + c] = gated + model.parameters[bias + c]


@kernel
def _limit_state(model, tile, current):
    """current = clamp(current, state range); returns the number of limited ones."""
    saturated = 0
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            x = current[i * LANES + c]
            limited = min(max(x, model.state_low), model.state_high)
            saturated += limited != x
            current[i * LANES + c] = limited
    return saturated


# ------------------------------------------------------------------------------- messages


@kernel
def _send(population, model, arenas, tile, t, current, counts):
    """Limit what a tile sends, count it and write it to the population's buffer; returns the number of limited ones."""
    buffer = buffer_row(model.buffers, population.buffer)
    saturated = 0
    for i in range(tile.pixels):
        at = message_offset(population, buffer, model.offsets, tile, t, i)
        count = count_offset(population, model.offsets, tile, t, i)
        for c in range(tile.lanes):
            x = current[i * LANES + c]
            y = min(max(x, population.low), population.high)
            saturated += y != x
            counts[count + c] += y != 0
            if buffer.arena == 0:
                arenas.bytes[at + c] = y
            elif buffer.arena == 1:
                arenas.shorts[at + c] = y
            else:
                arenas.words[at + c] = y
    return saturated
