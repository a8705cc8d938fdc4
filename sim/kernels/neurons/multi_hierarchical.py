"""A dendrite d and a soma v that drive each other, with binary spikes."""

from __future__ import annotations

import numpy as np

from ..compiling import kernel
from ..lanes import WIDTH, at_least, differs, larger, load, smaller, splat, store, total
from ..rounding import half_of, parameter_at, rshift, scaled
from ..tiles import LANES


@kernel
def fire(population, model, tile, t, scratch):
    current, v, d, parameters = scratch.current32, scratch.v32, scratch.d32, model.parameters
    leaks = parameter_at(population.dendrite_leak, t, tile)
    feedbacks = parameter_at(population.dendrite_feedback, t, tile)
    soma_leaks, soma_drives = parameter_at(population.soma_leak, t, tile), parameter_at(population.soma_drive, t, tile)
    thresholds = parameter_at(population.threshold, t, tile)
    split, shift = population.leak_split, population.leak_shift - population.leak_split
    half = half_of(shift)
    low, high = splat(model.state_low), splat(model.state_high)
    limits = 0
    for c in range(0, tile.lanes, WIDTH):
        leak, feedback = load(parameters, leaks + c), load(parameters, feedbacks + c)
        soma_leak, drive = load(parameters, soma_leaks + c), load(parameters, soma_drives + c)
        theta = load(parameters, thresholds + c)
        saturated = splat(0)
        for n in range(c, c + tile.pixels * LANES, LANES):
            dendrite = scaled(leak, load(d, n), split, half, shift) + load(current, n)
            dendrite = dendrite + scaled(feedback, load(v, n), split, half, shift)
            limited = smaller(larger(dendrite, low), high)
            saturated = saturated - differs(limited, dendrite)
            store(d, n, limited)
            m = scaled(soma_leak, load(v, n), split, half, shift) + scaled(drive, limited, split, half, shift)
            limited = smaller(larger(m, low), high)
            saturated = saturated - differs(limited, m)
            fires = at_least(limited, theta)
            store(v, n, limited - (fires & theta))
            store(current, n, fires & splat(1))
        limits += total(saturated, tile.lanes - c)
    return limits


@kernel
def fire_wide(population, model, tile, t, scratch):
    current, v, d, parameters = scratch.current, scratch.v, scratch.d, model.parameters
    leaks = parameter_at(population.dendrite_leak, t, tile)
    feedbacks = parameter_at(population.dendrite_feedback, t, tile)
    soma_leaks, soma_drives = parameter_at(population.soma_leak, t, tile), parameter_at(population.soma_drive, t, tile)
    thresholds, shift = parameter_at(population.threshold, t, tile), population.leak_shift
    low, high = model.state_low, model.state_high
    saturated = 0
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            n, theta = i * LANES + c, parameters[thresholds + c]
            fed_back = rshift(parameters[feedbacks + c] * v[n], shift)
            dendrite = rshift(parameters[leaks + c] * d[n], shift) + fed_back + current[n]
            d[n] = min(max(dendrite, low), high)
            driven = rshift(parameters[soma_drives + c] * d[n], shift)
            m = rshift(parameters[soma_leaks + c] * v[n], shift) + driven
            limited = min(max(m, low), high)
            saturated += (d[n] != dendrite) + (limited != m)
            fires = np.int64(limited >= theta)
            v[n] = limited - fires * theta
            current[n] = fires
    return saturated
