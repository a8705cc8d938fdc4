"""A pool of spikes."""

from __future__ import annotations

import numpy as np

from hmdf.sim.contract import Population, SumPool, Synapse

from ..written import (
    Inexpressible,
    Written,
    weighted,
)


def write(graph: Written, population: Population) -> str:
    """A pool of spikes: its relay is made again where the graph is read."""
    (port, *others) = population.ports
    node = graph.program.by_name.get(port.source)
    plain = isinstance(node, Synapse) and isinstance(node.op, SumPool) and np.all(port.multiplier == 1)
    if others or population.bias.any() or not plain or port.shift or not isinstance(node, Synapse):
        raise Inexpressible("a current that is rounded to a message")
    gain = population.message.scale / graph.program.message_of(node.source).scale
    return weighted(graph, node, np.full(population.shape[0], gain), np.zeros(population.shape[0]))
