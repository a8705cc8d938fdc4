"""A leaky membrane that is sent as it is."""

from __future__ import annotations

from ..compiling import kernel
from ..lanes import WIDTH, differs, larger, load, smaller, splat, store, total
from ..rounding import half_of, parameter_at, rshift, scaled
from ..tiles import LANES


@kernel
def fire(population, model, tile, t, scratch):
    current, v, leaks = scratch.current32, scratch.v32, parameter_at(population.leak, t, tile)
    split, shift = population.leak_split, population.leak_shift - population.leak_split
    half, low, high = half_of(shift), splat(model.state_low), splat(model.state_high)
    limits = 0
    for c in range(0, tile.lanes, WIDTH):
        leak, saturated = load(model.parameters, leaks + c), splat(0)
        for n in range(c, c + tile.pixels * LANES, LANES):
            m = scaled(leak, load(v, n), split, half, shift) + load(current, n)
            limited = smaller(larger(m, low), high)
            saturated = saturated - differs(limited, m)
            store(v, n, limited)
            store(current, n, limited)
        limits += total(saturated, tile.lanes - c)
    return limits


@kernel
def fire_wide(population, model, tile, t, scratch):
    current, v, leaks = scratch.current, scratch.v, parameter_at(population.leak, t, tile)
    saturated = 0
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            n = i * LANES + c
            m = rshift(model.parameters[leaks + c] * v[n], population.leak_shift) + current[n]
            v[n] = current[n] = min(max(m, model.state_low), model.state_high)
            saturated += v[n] != m
    return saturated
