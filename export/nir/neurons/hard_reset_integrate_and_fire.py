"""IF, LIF or Threshold."""

from __future__ import annotations

from typing import Any

import numpy as np

from hmdf.sim.contract import Population

from ..written import (
    Inexpressible,
    Written,
    full,
    height_of,
    integrate_and_fire,
    spiking,
)


def write(graph: Written, population: Population) -> str:
    """Its node, in units of the threshold."""
    neuron: Any = population.dynamics
    if neuron.reset.any():
        raise Inexpressible("a reset to another state than the first")
    above = bool(np.all(neuron.threshold % 2 == 1))  # the least membrane that fires is one above a power of two
    graph.resets.add(("value", above))
    height = height_of(neuron.threshold - above)
    leak = neuron.leak / 2.0**neuron.leak_shift
    if not leak.any():
        return spiking(graph, population, lambda: graph.nir.Threshold(full(population, np.ones((1, 1)))), height)
    return spiking(graph, population, lambda: integrate_and_fire(graph, population, leak), height)
