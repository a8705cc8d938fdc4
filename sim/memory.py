"""Memory that a program needs anywhere, whatever the chip adds: weights, parameters, state."""

from __future__ import annotations

from math import prod

import msgspec

from .nodes import HybridFiring, LeakyIntegrateAndFire, LookupTable, MultiHierarchical
from .packing import packed_bytes
from .program import Program

_CONVENTIONAL_BITS = {1: 2, 2: 3, 4: 32, 8: 32}


class Memory(msgspec.Struct, frozen=True):
    """Bytes of a program.

    Fields:
        weight_bytes: weights at their true width (1 bit; 5 ternary weights per byte; 4 or 8 bits).
        parameter_bytes: multipliers and leaks at 2 bytes, biases, thresholds and tables at 4.
        state_bytes: one membrane of `state_bits` per neuron that has one, two for LM-H; a byte holds 8 bits.
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
    weights = sum(packed_bytes(s.weight.size, s.weight_bits) for s in program.synapses if s.weight is not None)
    conventional = sum(
        s.weight.size * _CONVENTIONAL_BITS[s.weight_bits] for s in program.synapses if s.weight is not None
    )
    conventional += 32 * program.classes
    parameters = program.readout.bias.nbytes
    state_bits = 0
    for population in program.populations:
        parameters += sum(array.nbytes for _, array in population.parameters())
        match population.dynamics:
            case LookupTable(table=table):
                parameters += table.nbytes
            case HybridFiring() | LeakyIntegrateAndFire():
                state_bits += prod(population.shape) * program.state_bits
            case MultiHierarchical():
                state_bits += 2 * prod(population.shape) * program.state_bits
    return Memory(weights, conventional / 8, parameters, -(-state_bits // 8))
