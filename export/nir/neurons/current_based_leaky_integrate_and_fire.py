"""CubaLIF."""

from __future__ import annotations

from typing import Any

import numpy as np

from hmdf.sim.contract import Population

from ..written import (
    Inexpressible,
    Written,
    current_based,
    height_of,
    spiking,
)


def write(graph: Written, population: Population) -> str:
    """Its node, in units of the threshold."""
    neuron: Any = population.dynamics
    if neuron.reset.any():
        raise Inexpressible("a reset to another state than the first")
    above = bool(np.all(neuron.threshold % 2 == 1))
    graph.resets.add(("value", above))
    height = height_of(neuron.threshold - above)
    leaks = (neuron.current_leak / 2.0**neuron.leak_shift, neuron.leak / 2.0**neuron.leak_shift)
    bias = neuron.membrane_bias / height
    return spiking(graph, population, lambda: current_based(graph, population, *leaks, bias), height)
