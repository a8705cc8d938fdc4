"""No membrane: what lies above the threshold is sent."""

from __future__ import annotations

from ..compiling import kernel
from ..lanes import WIDTH, larger, load, shift_right, splat, store
from ..rounding import half_of, parameter_at, rshift
from ..tiles import LANES


@kernel
def fire(population, model, tile, t, scratch):
    current, thresholds = scratch.current32, parameter_at(population.threshold, t, tile)
    spike_shift, zero = population.spike_shift, splat(0)
    spike_half = half_of(spike_shift)
    for c in range(0, tile.lanes, WIDTH):
        theta = load(model.parameters, thresholds + c)
        for n in range(c, c + tile.pixels * LANES, LANES):
            store(current, n, shift_right(larger(load(current, n) - theta, zero) + spike_half, spike_shift))
    return 0


@kernel
def fire_wide(population, model, tile, t, scratch):
    current, thresholds = scratch.current, parameter_at(population.threshold, t, tile)
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            above = current[i * LANES + c] - model.parameters[thresholds + c]
            current[i * LANES + c] = rshift(max(above, 0), population.spike_shift)
    return 0
