"""CubaLIF: current-based leaky integrate-and-fire neurons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...neurons import FloatCurrentBasedLeakyIntegrateAndFire, FloatLeakyIntegrator
from ..building import Building
from ..membranes import ONE, ZERO, fires, firing, membrane, neurons, row, start_and_height, synapse, two_states
from ..units import Unit

KINDS = ("CubaLIF",)


def layers(made: Building, unit: Unit, source: str) -> str:
    """The membrane of LIF, driven by i <- k_syn i + (1 - k_syn) w_in S; both in units of the threshold."""
    shape, reset = made.shapes[source], made.dialect.reset
    start, height = start_and_height(unit, shape)
    kept, gain, offset = membrane(made, unit, shape, start)
    kept_current, taken = synapse(made, unit, shape)
    gain, offset, nothing = taken * gain / height, offset / height, np.zeros(shape[0])
    if reset == "value":
        leaks = (row(kept_current), row(kept))
        neuron = FloatCurrentBasedLeakyIntegrateAndFire(ONE, made.dialect.above, *leaks, row(offset))
        return fires(made, neurons(made, unit, source, gain, nothing, neuron))
    if reset == "subtract" and not offset.any():
        both = two_states(row(kept_current), ZERO, row(kept), ONE)
        return fires(made, neurons(made, unit, source, gain, nothing, both))
    current = FloatLeakyIntegrator(row(kept_current))
    source = neurons(made, replace(unit, name=f"{unit.name}.synapse"), source, gain, nothing, current)
    return fires(made, neurons(made, unit, source, np.ones(shape[0]), offset, firing(made.dialect, kept)))
