"""A leaky membrane with binary spikes, each of which takes the threshold away."""

from __future__ import annotations

import numpy as np

from ..compiling import kernel
from ..lanes import WIDTH, at_least, differs, larger, load, smaller, splat, store, total
from ..rounding import half_of, parameter_at, rshift, scaled
from ..tiles import LANES


@kernel
def fire(population, model, tile, t, scratch):
    current, v = scratch.current32, scratch.v32
    leaks, thresholds = parameter_at(population.leak, t, tile), parameter_at(population.threshold, t, tile)
    split, shift = population.leak_split, population.leak_shift - population.leak_split
    half = half_of(shift)
    low, high = splat(model.state_low), splat(model.state_high)
    limits = 0
    for c in range(0, tile.lanes, WIDTH):
        leak, theta = load(model.parameters, leaks + c), load(model.parameters, thresholds + c)
        saturated = splat(0)
        for n in range(c, c + tile.pixels * LANES, LANES):
            m = scaled(leak, load(v, n), split, half, shift) + load(current, n)
            limited = smaller(larger(m, low), high)
            saturated = saturated - differs(limited, m)
            fires = at_least(limited, theta)
            store(v, n, limited - (fires & theta))
            store(current, n, fires & splat(1))
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
            fires = np.int64(limited >= theta)
            v[n] = limited - fires * theta
            current[n] = fires
    return saturated
