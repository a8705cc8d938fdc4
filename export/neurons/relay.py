"""A current that is passed on: residual streams, pools."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from torch import Tensor

from hmdf.sim.contract import MaxPool, Message, Population, Port, Relay, SumPool, WeightedOp
from hmdf.sim.finding import Finding

from ..graph import AtStep, Fired, FloatDynamics, FoldedPopulation
from ..integers import HEAD_ROOM, LARGEST_MULTIPLIER, ChosenIntegers, Settled

LEAST_LSB = 2.0**-100
"""LSB of a current that is always 0: small beside every other, and far from what a float cannot hold."""


@dataclass(frozen=True)
class FloatRelay(FloatDynamics):
    """y = I."""

    integer = Relay
    passes_on = True

    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        return Fired(current, current)

    def to_integers(self, node: FoldedPopulation, settled: Settled) -> ChosenIntegers:
        lossless = _lossless(node, settled)
        return _rounded(node, settled) if lossless is None else ChosenIntegers(lossless)


def _lossless(node: FoldedPopulation, settled: Settled) -> Population | None:
    """A pool of spikes, passed on with the bits that its sum needs: nothing is rounded. None for other currents."""
    source = settled.synapses.get(node.ports[0].source)
    if source is None or not isinstance(source.op, SumPool | MaxPool):
        return None
    before, gain = settled.message_to(source), node.ports[0].gain
    plain = len(node.ports) == 1 and node.gate is None and not node.bias.any() and gain.size == 1
    count = prod(source.op.kernel) if isinstance(source.op, SumPool) else 1
    bits = before.bits if count == 1 else (before.range[1] * count).bit_length()
    most = min(settled.config.bits.get(node.name, 16), settled.registers.message_bits)
    if not plain or gain[0, 0] <= 0 or (before.signed and count > 1) or bits > most:
        return None
    message = Message(bits, before.signed, before.scale * float(gain[0, 0]))
    if settled.fit(node.name, lambda _: message, bits, bits).error is not None:
        return None
    port = Port(source.name, np.ones((1, 1), np.int16), 0)
    return Population(node.name, node.shape, (port,), np.zeros((1, 1), np.int32), Relay(), message)


def _rounded(node: FoldedPopulation, settled: Settled) -> ChosenIntegers:
    """The range is HEAD_ROOM times the largest calibrated value."""
    largest = HEAD_ROOM * max(abs(settled.statistics.low[node.name]), abs(settled.statistics.high[node.name]))
    # No LSB is finer than what the largest multiplier can express.
    finest = max(float(np.abs(p.gain * settled.units[p.source]).max()) for p in node.ports) / LARGEST_MULTIPLIER
    unsigned = _never_negative(node, settled)

    def message(bits: int) -> Message:
        top = 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1
        return Message(bits, not unsigned, max(largest / top, finest, LEAST_LSB))

    wanted = settled.config.bits.get(node.name, settled.config.message_bits)
    fitted = settled.fit(node.name, message, wanted, 1 if unsigned else 2)
    population = settled.build(node, Relay(), fitted.message, fitted.message.scale)
    assert population is not None  # the LSB is not below `finest`
    dead = [Finding(node.name, "its current is 0 on every calibration sample", "", "note")] if largest == 0 else []
    return ChosenIntegers(population, (*dead, *fitted.findings))


def _never_negative(node: FoldedPopulation, settled: Settled) -> bool:
    if node.gate is not None or (node.bias < 0).any() or any((p.gain < 0).any() for p in node.ports):
        return False
    for port in node.ports:
        synapse = settled.synapses.get(port.source)
        if (settled.messages[port.source] if synapse is None else settled.message_to(synapse)).signed:
            return False
        if synapse is not None and isinstance(synapse.op, WeightedOp) and (synapse.op.weight < 0).any():
            return False
    return True
