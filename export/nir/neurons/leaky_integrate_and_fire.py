"""IF or LIF with a soft reset; Delay."""

from __future__ import annotations

from typing import Any

import numpy as np

from hmdf.sim.contract import Population

from ..written import (
    Written,
    height_of,
    integrate_and_fire,
    spiking,
)


def write(graph: Written, population: Population) -> str:
    """A soft reset; or a step of a Delay: leak 2, and a threshold of twice the spike."""
    neuron: Any = population.dynamics
    leak = neuron.leak / 2.0**neuron.leak_shift
    (port, *others) = population.ports
    gain = port.multiplier / 2.0**port.shift
    if np.all(leak == 2) and not others and not population.bias.any() and np.all(neuron.threshold == 2 * gain):
        return graph.add(population.name, graph.nir.Delay(np.ones(population.shape)), graph.ends[port.source])
    graph.resets.add(("subtract", None))
    height = height_of(neuron.threshold)
    return spiking(graph, population, lambda: integrate_and_fire(graph, population, leak), height)
