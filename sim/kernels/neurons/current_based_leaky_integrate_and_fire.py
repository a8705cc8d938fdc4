"""Loihi's own neuron: a current u, in the place of the first state, that decays and drives a membrane v."""

from __future__ import annotations

from ..compiling import kernel
from ..lanes import WIDTH, at_least, chosen, differs, larger, load, smaller, splat, store, total
from ..rounding import decayed, parameter_at, toward_zero
from ..tiles import LANES

BITS = 12
"""Of a decay."""


@kernel
def fire(population, model, tile, t, scratch):
    current, u, v, parameters = scratch.current32, scratch.d32, scratch.v32, model.parameters
    current_leaks, leaks = parameter_at(population.current_leak, t, tile), parameter_at(population.leak, t, tile)
    thresholds, resets = parameter_at(population.threshold, t, tile), parameter_at(population.reset, t, tile)
    biases, split = parameter_at(population.membrane_bias, t, tile), population.leak_split
    shift = BITS - split
    low, high = splat(model.state_low), splat(model.state_high)
    limits = 0
    for c in range(0, tile.lanes, WIDTH):
        current_leak, leak = load(parameters, current_leaks + c), load(parameters, leaks + c)
        theta, reset = load(parameters, thresholds + c), load(parameters, resets + c)
        bias, saturated = load(parameters, biases + c), splat(0)
        for n in range(c, c + tile.pixels * LANES, LANES):
            driven = decayed(current_leak, load(u, n), split, shift) + load(current, n)
            limited = smaller(larger(driven, low), high)
            saturated = saturated - differs(limited, driven)
            store(u, n, limited)
            m = decayed(leak, load(v, n), split, shift) + limited + bias
            limited = smaller(larger(m, low), high)
            saturated = saturated - differs(limited, m)
            fires = at_least(limited, theta)
            store(v, n, chosen(fires, reset, limited))
            store(current, n, fires & splat(1))
        limits += total(saturated, tile.lanes - c)
    return limits


@kernel
def fire_wide(population, model, tile, t, scratch):
    current, u, v, parameters = scratch.current, scratch.d, scratch.v, model.parameters
    current_leaks, leaks = parameter_at(population.current_leak, t, tile), parameter_at(population.leak, t, tile)
    thresholds, resets = parameter_at(population.threshold, t, tile), parameter_at(population.reset, t, tile)
    biases, low, high = parameter_at(population.membrane_bias, t, tile), model.state_low, model.state_high
    saturated = 0
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            n = i * LANES + c
            driven = toward_zero(parameters[current_leaks + c] * u[n], BITS) + current[n]
            u[n] = min(max(driven, low), high)
            m = toward_zero(parameters[leaks + c] * v[n], BITS) + u[n] + parameters[biases + c]
            limited = min(max(m, low), high)
            saturated += (u[n] != driven) + (limited != m)
            fires = limited >= parameters[thresholds + c]
            v[n] = parameters[resets + c] if fires else limited
            current[n] = fires
    return saturated
