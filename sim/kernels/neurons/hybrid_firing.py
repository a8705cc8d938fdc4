"""A leaky membrane that keeps its threshold and sends what lies above."""

from __future__ import annotations

from ..compiling import kernel
from ..lanes import WIDTH, differs, larger, load, shift_right, smaller, splat, store, total
from ..rounding import half_of, parameter_at, rshift, scaled
from ..tiles import LANES


@kernel
def fire(population, model, tile, t, scratch):
    current, v, end, clamps = scratch.current32, scratch.v32, tile.pixels * LANES, population.state_clamps
    leaks, thresholds = parameter_at(population.leak, t, tile), parameter_at(population.threshold, t, tile)
    split, shift = population.leak_split, population.leak_shift - population.leak_split
    half, zero, spike_shift = half_of(shift), splat(0), population.spike_shift
    spike_half = half_of(spike_shift)
    low, high = splat(model.state_low), splat(model.state_high)
    limits = 0
    for c in range(0, tile.lanes, WIDTH):
        leak, theta = load(model.parameters, leaks + c), load(model.parameters, thresholds + c)
        saturated = zero
        for n in range(c, c + end, LANES):
            m = scaled(leak, load(v, n), split, half, shift) + load(current, n)
            if clamps:
                limited = smaller(larger(m, low), high)
                saturated = saturated - differs(limited, m)
                m = limited
            store(v, n, smaller(m, theta))
            store(current, n, shift_right(larger(m - theta, zero) + spike_half, spike_shift))
        limits += total(saturated, tile.lanes - c)
    return limits


@kernel
def fire_wide(population, model, tile, t, scratch):
    current, v, parameters = scratch.current, scratch.v, model.parameters
    leaks, thresholds = parameter_at(population.leak, t, tile), parameter_at(population.threshold, t, tile)
    saturated = 0
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            n, theta = i * LANES + c, parameters[thresholds + c]
            m = rshift(parameters[leaks + c] * v[n], population.leak_shift) + current[n]
            limited = min(max(m, model.state_low), model.state_high)
            saturated += limited != m
            v[n] = min(limited, theta)
            current[n] = rshift(max(limited - theta, 0), population.spike_shift)
    return saturated
