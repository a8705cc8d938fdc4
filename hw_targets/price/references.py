"""What a program's cost is compared with: itself as an ANN, NeuroBench's metrics."""

from __future__ import annotations

from math import prod

import msgspec
import numpy as np

from hmdf.sim.contract import WeightedOp
from hmdf.sim.packing import packed_bytes
from hmdf.sim.program import Program

from ..events import EventCounts
from ..place.layers import READOUT, layers_of
from ..schema import Cost, Target, triple


class Ann(msgspec.Struct, frozen=True):
    """The same network as an ANN in one pass: every weight at every position once, pJ per sample."""

    macs: int
    int8: Cost
    fp32: Cost


def ann(program: Program, reference: Target) -> Ann:
    """The network as 8-bit and fp32 ANN, at the MAC energies of a target that has them (cmos45).

    Raises:
        ValueError: the target has no int8 and fp32 MAC energy.
    """
    int8, fp32 = reference.costs.int8_mac_energy, reference.costs.fp32_mac_energy
    if int8 is None or fp32 is None:
        raise ValueError(f"target '{reference.name}' has no int8_mac_energy and fp32_mac_energy; cmos45 has them")
    macs = sum(s.op.taps * prod(program.shapes[s.name]) for s in program.synapses if isinstance(s.op, WeightedOp))
    return Ann(macs, *(Cost(*(macs * c for c in triple(constant))) for constant in (int8, fp32)))


class SynapticOperations(msgspec.Struct, frozen=True):
    """NeuroBench's three counts, per sample.

    Attributes:
        Effective_MACs: of messages of more than one bit. Dense messages count every non-zero weight, zero messages
            included (an upper bound).
        Effective_ACs: of binary messages.
        Dense: every weight at every position whose input lies inside the frame, whatever the message.
    """

    Effective_MACs: float
    Effective_ACs: float
    Dense: float


class NeuroBench(msgspec.Struct, frozen=True):
    """Metrics under the names of the NeuroBench community.

    Attributes:
        footprint: bytes of weights at their stored width and of the parameter tables.
        connection_sparsity: share of zero weights.
        activation_sparsity: share of zero messages of the neurons; populations that only pass a current on are none.
        membrane_updates: neurons that keep a state, times steps: each is computed anew at every step. NeuroBench leaves
            out those that happen to give the same membrane again (an upper bound).
    """

    footprint: int
    connection_sparsity: float
    activation_sparsity: float
    synaptic_operations: SynapticOperations
    membrane_updates: int


def neurobench(program: Program, events: EventCounts) -> NeuroBench:
    """NeuroBench's metrics of a program on the samples that were counted."""
    weighted = [(s, s.op) for s in program.synapses if isinstance(s.op, WeightedOp)]
    layers = layers_of(program)
    tables = sum(n.parameter_bits + n.parameter_bits_per_channel * n.shape[0] for n in layers)
    neurons = [p for p in program.populations if p.dynamics.facts.activation]
    possible = sum(prod(p.shape) for p in neurons) * program.time_steps
    sent = sum(float(events.messages[p.name].mean()) for p in neurons)
    macs = acs = 0.0
    for synapse, _ in weighted:
        operations = float(events.sops[synapse.name].mean()) + events.macs[synapse.name]
        if program.message_of(synapse.source).bits == 1:
            acs += operations
        else:
            macs += operations
    dense = sum(_connections(op, program.shapes[s.source]) for s, op in weighted) * program.time_steps
    zeros = sum(int(np.count_nonzero(op.weight == 0)) for _, op in weighted)
    weights = sum(op.weight.size for _, op in weighted)
    stored = sum(packed_bytes(op.weight.size, op.weight_bits) for _, op in weighted)
    return NeuroBench(
        footprint=stored + -(-tables // 8),
        connection_sparsity=zeros / weights,
        activation_sparsity=1 - sent / possible if possible else 0.0,
        synaptic_operations=SynapticOperations(macs, acs, float(dense)),
        membrane_updates=sum(n.neurons for n in layers if n.state_bits and n.name != READOUT) * program.time_steps,
    )


def _connections(op: WeightedOp, source_shape: tuple[int, ...]) -> int:
    """Pairs of a weight, zero or not, and a position whose input lies inside the frame."""
    return int(msgspec.structs.replace(op, weight=np.ones_like(op.weight), weight_bits=1).fanout(source_shape).sum())
