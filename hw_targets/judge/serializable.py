"""Whether graded spikes can be sent bit by bit (`hmdf.export.passes.serialize`), and which already are."""

from __future__ import annotations

import numpy as np

from hmdf.sim.contract import (
    WEIGHT_RANGES,
    Conv2d,
    Linear,
    MaxPool,
    Population,
    SumPool,
    Synapse,
    WeightedOp,
    Window,
)
from hmdf.sim.program import Program

LARGEST_BITS = 8
"""Bits that a table of 256 entries can take apart."""
LARGEST_WEIGHT = 1 << 26
"""Entries of a one-to-one matrix of a flat population that are still built."""


def obstacle(program: Program, population: Population) -> str | None:
    """Why a population's messages cannot be serialised, None when they can."""
    name, message = population.name, population.message
    if message.signed:
        return "its messages are signed"
    if message.bits > LARGEST_BITS:
        return f"its messages have more than {LARGEST_BITS} bits"
    if len(population.shape) == 1 and population.shape[0] ** 2 * message.bits > LARGEST_WEIGHT:
        return "it is a flat population too large for a one-to-one matrix"
    for reader in program.populations:
        if reader.gate is not None and reader.gate.source == name:
            return f"it gates '{reader.name}', and a gate is one message"
    for synapse in program.synapses:
        if synapse.source != name:
            continue
        if isinstance(synapse.op, MaxPool):
            return f"'{synapse.name}' takes the largest of its messages"
        if not isinstance(synapse.op, Conv2d | Linear | SumPool):
            return f"'{synapse.name}' runs along its channels"
        largest = int(np.abs(synapse.op.weight.astype(np.int64)).max()) if isinstance(synapse.op, WeightedOp) else 1
        if largest << (message.bits - 1) > WEIGHT_RANGES[8][1]:
            return f"the weights of '{synapse.name}' (up to {largest}), shifted by {message.bits - 1}, exceed 8 bits"
    return None


def is_local(program: Program, population: Population) -> bool:
    """Whether a population's messages go only to its own bits: each reader copies one neuron to binary tables."""
    name = population.name
    readers = [s for s in program.synapses if s.source == name]
    direct = any(port.source == name for p in program.populations for port in p.ports)
    gates = any(p.gate is not None and p.gate.source == name for p in program.populations)
    if direct or gates or not readers or program.readout.source in {s.name for s in readers}:
        return False
    copies = {s.name for s in readers if _is_copy(s)}
    of_tables = [p for p in program.populations if any(p.tables())]
    tables = {port.source for p in of_tables if p.message.bits == 1 for port in p.ports}
    others = {port.source for p in program.populations if p not in of_tables for port in p.ports}
    return all(s.name in copies and s.name in tables and s.name not in others for s in readers)


def _is_copy(synapse: Synapse) -> bool:
    """Whether every output is one input times 1, at the same position."""
    op = synapse.op
    if not isinstance(op, Conv2d | Linear):
        return False
    if op.window is not None and op.window != Window((1, 1), (1, 1), (0, 0)):
        return False
    rows = op.weight.reshape(len(op.weight), -1)
    return bool(np.all((rows != 0).sum(axis=1) == 1) and np.all(rows.max(axis=1) == 1))
