"""A leaky membrane with binary spikes, each of which puts a given value in its place."""

from __future__ import annotations

from ..compiling import kernel
from ..lanes import WIDTH, at_least, chosen, differs, larger, load, smaller, splat, store, total
from ..rounding import half_of, parameter_at, rshift, scaled
from ..tiles import LANES


@kernel
def fire(population, model, tile, t, scratch):
    current, v = scratch.current32, scratch.v32
    leaks, thresholds = parameter_at(population.leak, t, tile), parameter_at(population.threshold, t, tile)
    resets = parameter_at(population.reset, t, tile)
    split, shift = population.leak_split, population.leak_shift - population.leak_split
    half = half_of(shift)
    low, high = splat(model.state_low), splat(model.state_high)
    limits = 0
    for c in range(0, tile.lanes, WIDTH):
        leak, theta = load(model.parameters, leaks + c), load(model.parameters, thresholds + c)
        reset = load(model.parameters, resets + c)
        saturated = splat(0)
        for n in range(c, c + tile.pixels * LANES, LANES):
            m = scaled(leak, load(v, n), split, half, shift) + load(current, n)
            limited = smaller(larger(m, low), high)
            saturated = saturated - differs(limited, m)
            fires = at_least(limited, theta)
            store(v, n, chosen(fires, reset, limited))
            store(current, n, fires & splat(1))
        limits += total(saturated, tile.lanes - c)
    return limits


@kernel
def fire_wide(population, model, tile, t, scratch):
    current, v, parameters = scratch.current, scratch.v, model.parameters
    leaks, thresholds = parameter_at(population.leak, t, tile), parameter_at(population.threshold, t, tile)
    resets = parameter_at(population.reset, t, tile)
    saturated = 0
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            n, theta = i * LANES + c, parameters[thresholds + c]
            m = rshift(parameters[leaks + c] * v[n], population.leak_shift) + current[n]
            limited = min(max(m, model.state_low), model.state_high)
            saturated += limited != m
            fires = limited >= theta
            v[n] = parameters[resets + c] if fires else limited
            current[n] = fires
    return saturated
