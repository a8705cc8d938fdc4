"""What the neurons of a tile do with their currents: the equations of docs/numerics.md in 64-bit integers."""

from __future__ import annotations

import numpy as np

from . import plan as p
from .compiling import kernel
from .plan import buffer_row
from .tiles import LANES, count_offset, message_at, message_offset


@kernel
def start(population, model, tile, t, current):
    """current = bias."""
    bias = population.bias.offset + t * population.bias.step + tile.channel
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            current[i * LANES + c] = model.parameters[bias + c]


@kernel
def add_port(port, model, tile, t, accumulator, current):
    """current += rshift(multiplier * accumulator, shift)."""
    multiplier = port.multiplier.offset + t * port.multiplier.step + tile.channel
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            product = model.parameters[multiplier + c] * accumulator[i * LANES + c]
            current[i * LANES + c] += _rshift(product, port.shift)


@kernel
def gate(population, model, arenas, tile, t, current):
    """current = rshift(current * gate, shift) + bias."""
    source = buffer_row(model.buffers, population.gate)
    at = source.offset + tile.sample * source.sample + t * source.step + tile.channel
    bias = population.gate_bias.offset + t * population.gate_bias.step + tile.channel
    for c in range(tile.lanes):
        factor = message_at(arenas, source.arena, at + c)
        for i in range(tile.pixels):
            gated = _rshift(current[i * LANES + c] * factor, population.gate_shift)
            current[i * LANES + c] = gated + model.parameters[bias + c]


@kernel
def limit_state(model, tile, current):
    """current = clamp(current, state range); gives the number of limited ones."""
    saturated = 0
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            x = current[i * LANES + c]
            limited = min(max(x, model.state_low), model.state_high)
            saturated += limited != x
            current[i * LANES + c] = limited
    return saturated


@kernel
def fire(population, model, tile, t, scratch):
    """Update v and d; what is sent, before the limits of the message, takes the place of the current.

    Gives the number of limited states.
    """
    current, v, d = scratch.current, scratch.v, scratch.d
    threshold = population.threshold.offset + t * population.threshold.step + tile.channel
    leak = population.leak.offset + t * population.leak.step + tile.channel
    feedback = population.feedback.offset + t * population.feedback.step + tile.channel
    soma_leak = population.soma_leak.offset + t * population.soma_leak.step + tile.channel
    soma_drive = population.soma_drive.offset + t * population.soma_drive.step + tile.channel
    parameters, shift = model.parameters, population.leak_shift
    saturated = 0
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            n = i * LANES + c
            x = current[n]
            if population.dynamics == p.TABLE:
                x = _rshift(x, population.spike_shift)
                index = min(max(x, -128), 127)
                saturated += index != x
                current[n] = model.lookups[population.table + index + 128]
                continue
            theta = np.int64(parameters[threshold + c])
            if population.dynamics == p.PARALLEL:
                current[n] = _rshift(max(x - theta, 0), population.spike_shift)
                continue
            if population.dynamics == p.HIERARCHICAL:
                x += _rshift(parameters[leak + c] * d[n], shift) + _rshift(parameters[feedback + c] * v[n], shift)
                d[n] = min(max(x, model.state_low), model.state_high)
                saturated += d[n] != x
                m = _rshift(parameters[soma_leak + c] * v[n], shift) + _rshift(parameters[soma_drive + c] * d[n], shift)
            else:
                m = _rshift(parameters[leak + c] * v[n], shift) + x
            limited = min(max(m, model.state_low), model.state_high)
            saturated += limited != m
            if population.dynamics == p.HYBRID:
                v[n] = min(limited, theta)
                current[n] = _rshift(max(limited - theta, 0), population.spike_shift)
            else:
                fires = np.int64(limited >= theta)
                v[n] = limited - fires * theta
                current[n] = fires
    return saturated


@kernel
def send(population, model, arenas, tile, t, current, counts):
    """Limit what a tile sends, count it and write it to the population's buffer; gives the number of limited ones."""
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


@kernel
def _rshift(x, n):
    """As arithmetic.rshift."""
    if n == 0:
        return x
    return (x >> n) + ((x >> (n - 1)) & 1)
