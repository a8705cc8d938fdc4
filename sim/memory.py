"""Memory that a program needs anywhere, whatever the chip adds: weights, parameters, state."""

from __future__ import annotations

from math import prod

import msgspec

from .contract import WeightedOp
from .packing import packed_bytes
from .program import Program

_CONVENTIONAL_BITS = {1: 2, 2: 3, 4: 32, 8: 32}


class Memory(msgspec.Struct, frozen=True):
    """Bytes of a program.

    Attributes:
        weight_bytes: weights at their true width (1 bit; 5 ternary weights per byte; 4 or 8 bits).
        parameter_bytes: multipliers and leaks at 2 bytes, biases, thresholds, initial states and tables at 4.
        state_bytes: `state_bits` per state and neuron; a byte holds 8 bits.
        conventional_weight_bytes: the weights as papers count them: 2 bits for a 1-bit weight, 3 for a ternary one,
            4 bytes for each weight of the full-precision layers and for each bias of the read-out.
    """

    weight_bytes: int
    conventional_weight_bytes: float
    parameter_bytes: int
    state_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weight_bytes + self.parameter_bytes + self.state_bytes


def memory_of(program: Program) -> Memory:
    """What the whole program takes."""
    ops = [s.op for s in program.synapses if isinstance(s.op, WeightedOp)]
    weights = sum(packed_bytes(op.weight.size, op.weight_bits) for op in ops)
    conventional = sum(op.weight.size * _CONVENTIONAL_BITS[op.weight_bits] for op in ops) + 32 * program.classes
    parameters, states = program.readout.bias.nbytes, 0
    for population in program.populations:
        parameters += sum(entry.array.nbytes for entry in population.parameters())
        parameters += sum(table.nbytes for _, table in population.tables())
        states += len(population.dynamics.facts.states) * prod(population.shape)
    return Memory(weights, conventional / 8, parameters, -(-states * program.state_bits // 8))
