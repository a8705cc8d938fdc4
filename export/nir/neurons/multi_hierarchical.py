"""LIF whose spike subtracts after the next leak, or CubaLIF with a soft reset."""

from __future__ import annotations

from typing import Any

import numpy as np

from hmdf.sim.contract import Population

from ..written import (
    Inexpressible,
    Written,
    current_based,
    height_of,
    integrate_and_fire,
    spiking,
)


def write(graph: Written, population: Population) -> str:
    """LIF whose spike subtracts after the next leak, and CubaLIF with a soft reset."""
    neuron: Any = population.dynamics
    factors = (neuron.dendrite_leak, neuron.dendrite_feedback, neuron.soma_leak, neuron.soma_drive)
    dendrite, feedback, soma, drive = (factor / 2.0**neuron.leak_shift for factor in factors)
    height = height_of(neuron.threshold)
    if np.all(feedback == 1) and not soma.any() and np.all(drive == 1):
        graph.resets.add(("subtract-later", None))
        return spiking(graph, population, lambda: integrate_and_fire(graph, population, dendrite + 1), height)
    if not feedback.any() and np.all(drive == 1):
        graph.resets.add(("subtract", None))
        nothing = np.zeros((1, 1))
        return spiking(graph, population, lambda: current_based(graph, population, dendrite, soma, nothing), height)
    raise Inexpressible("a multi_hierarchical neuron of such factors")
