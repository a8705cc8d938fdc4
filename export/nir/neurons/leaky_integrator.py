"""I or LI."""

from __future__ import annotations

from typing import Any

import numpy as np

from hmdf.sim.contract import Population

from ..dialect import MESSAGE_SCALE
from ..written import (
    Written,
    currents,
    full,
    tau_of,
)


def write(graph: Written, population: Population) -> str:
    """Its node, in real units, with what its message is worth."""
    neuron: Any = population.dynamics
    leak, unit = neuron.leak / 2.0**neuron.leak_shift, population.message.scale * 2.0**-neuron.message_shift
    metadata = {MESSAGE_SCALE: population.message.scale}
    if np.all(leak == 1):
        node = graph.nir.I(full(population, np.ones((1, 1))), metadata=metadata)
    else:
        tau = tau_of(population, leak)
        node = graph.nir.LI(tau, tau.copy(), np.zeros_like(tau), metadata=metadata)
    return graph.add(population.name, node, *currents(graph, population, np.full((1, 1), unit)))
