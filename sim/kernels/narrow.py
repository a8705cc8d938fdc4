"""Tiles in 32-bit lanes: populations whose every intermediate integer provably fits (widths.py decides).

The equations are those of wide.py. A product that needs more than 32 bits before its shift is computed in two halves
(rounding.scaled), which is exact; the rounding half is added before the shift, which the proof leaves room for.
"""

from __future__ import annotations

from . import events, look_ups, winograd
from . import records as p
from .compiling import inlined, kernel
from .dot import dot_tile
from .lanes import WIDTH, address, differs, larger, load, smaller, splat, store, total
from .neurons import READOUT, fire
from .records import buffer_row, port_row
from .rounding import half_of, parameter_at, scaled
from .tiles import LANES


@inlined
def run_tile(
    path, population, model, arenas, tile, scratch, outcome, saturations, counting, event_port, begin, end, fresh
):
    """Steps [begin, end) of a tile; as wide.run_tile; the convolution of `event_port` from its list of events.

    `fresh`: the tile computed before it was not another block of channels of the same pixels.
    """
    if begin == 0 and population.states > 0:
        _begin(population.initial_v, model, tile, scratch.v32)
        _begin(population.initial_d, model, tile, scratch.d32)
    for t in range(begin, end):
        for index in range(population.first_port, population.first_port + population.ports):
            port = port_row(model.ports, index)
            first = index == population.first_port
            if port.kind == p.MESSAGE:
                _add_message(population, port, model, arenas, tile, t, scratch.current32, first)
            else:
                if index == event_port:
                    events.accumulate(path, port, model, tile, t, scratch)
                elif port.point_channels > 0:
                    step, together = t - begin, winograd.steps_at_once(tile)
                    if step % together == 0:
                        stop = min(t + together, end)
                        winograd.multiply(path, port, model, arenas, tile, population.steps, t, stop, fresh, scratch)
                    winograd.add_up(port, model, tile, step % together, scratch)
                elif port.look_planes > 0:
                    look_ups.add_up(path, port, model, arenas, tile, population.steps, t, fresh, scratch)
                else:
                    _accumulate(path, population, port, model, arenas, tile, t, scratch.accumulator32)
                _add_accumulator(population, port, model, tile, t, scratch, first)
        if population.dynamics == READOUT:
            for c in range(tile.lanes):
                outcome.logits[tile.sample * model.classes + tile.channel + c] += scratch.current32[c]
            continue
        if population.gate >= 0:
            _gate(population, model, arenas, tile, t, scratch.current32)
        if population.state_clamps:
            outcome.saturations[saturations + 2 * t] += _limit_current(model, tile, scratch.current32)
        outcome.saturations[saturations + 2 * t] += fire(population, model, tile, t, scratch)
        buffer = buffer_row(model.buffers, population.buffer)
        if buffer.arena == 0:
            limits = _send(population, buffer, model, arenas.bytes, tile, t, scratch, outcome.counts, counting)
        else:
            limits = _send(population, buffer, model, arenas.shorts, tile, t, scratch, outcome.counts, counting)
        outcome.saturations[saturations + 2 * t + 1] += limits


@kernel
def _begin(initial, model, tile, state):
    """A state before the first step."""
    values = parameter_at(initial, 0, tile)
    for c in range(0, tile.lanes, WIDTH):
        value = load(model.parameters, values + c)
        for n in range(c, c + tile.pixels * LANES, LANES):
            store(state, n, value)


# --------------------------------------------------------------------------- accumulators


@inlined
def _accumulate(path, population, port, model, arenas, tile, t, accumulator):
    source = buffer_row(model.buffers, port.source)
    start = source.offset + tile.sample * source.sample + t * source.step
    if port.kind == p.CONVOLUTION:
        if source.arena == 0:
            at, size = address(arenas.bytes, start), 1
        else:
            at, size = address(arenas.shorts, start), 2
        weights = address(model.weights, port.weight + tile.channel // LANES * port.weight_row)
        offsets, runs = address(model.offsets, port.pixels + tile.pixel), address(model.offsets, port.runs)
        to = address(accumulator, 0)
        bytes_ = port.run_length * size
        dot_tile(
            path, port.dot, at, offsets, runs, port.run_count, bytes_, weights, to,
            tile.pixels, tile.lanes, size, population.tile_rows,
        )  # fmt: skip
    elif source.arena == 0:
        _pool(port, arenas.bytes, source, start, tile, population.width, accumulator)
    else:
        _pool(port, arenas.shorts, source, start, tile, population.width, accumulator)


@kernel
def _pool(port, arena, source, start, tile, width, accumulator):
    """A pool, over the part of its window inside the frame."""
    for i in range(tile.pixels):
        pixel = tile.pixel + i
        y, x = pixel // width * port.stride_y - port.padding_y, pixel % width * port.stride_x - port.padding_x
        top, bottom = max(y, 0), min(y + port.kernel_y, port.source_height)
        left, right = max(x, 0), min(x + port.kernel_x, port.source_width)
        for c in range(0, tile.lanes, WIDTH):
            result = splat(0 if port.kind == p.SUM_POOL else -(1 << 31))
            for row in range(top, bottom):
                for column in range(left, right):
                    value = load(arena, start + row * source.row + column * source.pixel + tile.channel + c)
                    result = result + value if port.kind == p.SUM_POOL else larger(result, value)
            store(accumulator, i * LANES + c, result)


# ------------------------------------------------------------------------------- currents


@kernel
def _add_accumulator(population, port, model, tile, t, scratch, first):
    """current += rshift(multiplier * accumulator, shift); the first port meets the bias instead of a current."""
    accumulator, current = scratch.accumulator32, scratch.current32
    multipliers = parameter_at(port.multiplier, t, tile)
    biases = parameter_at(population.bias, t, tile)
    split, shift, end = port.split, port.shift - port.split, tile.pixels * LANES
    half = half_of(shift)
    for c in range(0, tile.lanes, WIDTH):
        multiplier, bias = load(model.parameters, multipliers + c), load(model.parameters, biases + c)
        if first:
            for n in range(c, c + end, LANES):
                store(current, n, bias + scaled(multiplier, load(accumulator, n), split, half, shift))
        else:
            for n in range(c, c + end, LANES):
                product = scaled(multiplier, load(accumulator, n), split, half, shift)
                store(current, n, load(current, n) + product)


@inlined
def _add_message(population, port, model, arenas, tile, t, current, first):
    source = buffer_row(model.buffers, port.source)
    at = source.offset + tile.sample * source.sample + t * source.step + tile.channel
    if source.arena == 0:
        _add_from(population, port, model, arenas.bytes, at, tile, t, current, first)
    else:
        _add_from(population, port, model, arenas.shorts, at, tile, t, current, first)


@kernel
def _add_from(population, port, model, arena, at, tile, t, current, first):
    """As _add_accumulator, for messages where their population left them."""
    offsets, pixels, positions = model.offsets, tile.pixels, port.pixels + tile.pixel
    multipliers = parameter_at(port.multiplier, t, tile)
    biases = parameter_at(population.bias, t, tile)
    split, shift = port.split, port.shift - port.split
    half = half_of(shift)
    for c in range(0, tile.lanes, WIDTH):
        multiplier, bias = load(model.parameters, multipliers + c), load(model.parameters, biases + c)
        for i in range(pixels):
            product = scaled(multiplier, load(arena, at + offsets[positions + i] + c), split, half, shift)
            store(current, i * LANES + c, product + (bias if first else load(current, i * LANES + c)))


@kernel
def _gate(population, model, arenas, tile, t, current):
    source = buffer_row(model.buffers, population.gate)
    at = source.offset + tile.sample * source.sample + t * source.step + tile.channel
    biases = parameter_at(population.gate_bias, t, tile)
    split, shift = population.gate_split, population.gate_shift - population.gate_split
    half = half_of(shift)
    for c in range(0, tile.lanes, WIDTH):
        factor = load(arenas.bytes, at + c) if source.arena == 0 else load(arenas.shorts, at + c)
        bias = load(model.parameters, biases + c)
        for n in range(c, c + tile.pixels * LANES, LANES):
            store(current, n, scaled(factor, load(current, n), split, half, shift) + bias)


@kernel
def _limit_current(model, tile, current):
    """Limits to the state range; returns the number of limited ones."""
    low, high = splat(model.state_low), splat(model.state_high)
    limits = 0
    for c in range(0, tile.lanes, WIDTH):
        saturated = splat(0)
        for n in range(c, c + tile.pixels * LANES, LANES):
            x = load(current, n)
            limited = smaller(larger(x, low), high)
            saturated = saturated - differs(limited, x)
            store(current, n, limited)
        limits += total(saturated, tile.lanes - c)
    return limits


# ------------------------------------------------------------------------------- messages


@kernel
def _send(population, buffer, model, arena, tile, t, scratch, counts, counting):
    """Limit, count and write what a tile sends; returns the number of limited ones."""
    # Fields of records are read before the loops: the compiler cannot know that a store leaves them as they are.
    offsets, current, pixels = model.offsets, scratch.current32, tile.pixels
    positions, classes = population.positions + tile.pixel, population.classes + tile.pixel
    at = buffer.offset + tile.sample * buffer.sample + t * buffer.step + tile.channel
    count_row = population.count_row
    count_at = (tile.sample * population.steps + t) * population.class_count * count_row + tile.channel
    low, high, zero = splat(population.low), splat(population.high), splat(0)
    limits = 0
    for c in range(0, tile.lanes, WIDTH):
        saturated = spikes = zero
        for i in range(pixels):
            x = load(current, i * LANES + c)
            y = smaller(larger(x, low), high)
            store(arena, at + offsets[positions + i] + c, y)
            if counting:
                saturated = saturated - differs(x, y)
                spikes = spikes - differs(y, zero)
                # Neighbours are mostly of one class: they are counted in a register.
                if i == pixels - 1 or offsets[classes + i + 1] != offsets[classes + i]:
                    count = count_at + offsets[classes + i] * count_row + c
                    store(counts, count, load(counts, count) + spikes)
                    spikes = zero
        limits += total(saturated, tile.lanes - c)
    return limits
