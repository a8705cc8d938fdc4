"""The leaky integrator: a read-out, or the synaptic current of a neuron."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hmdf.sim.contract import LeakyIntegrator, Message

from ..graph import Array, AtStep, Fired
from ..integers import HEAD_ROOM, Fitted, Settled
from .firing import FloatMembrane, scaled_leaks
from .relay import LEAST_LSB


@dataclass(frozen=True)
class FloatLeakyIntegrator(FloatMembrane):
    """v <- leak v + I, which is what it sends. leak: (T or 1, C or 1); lsb: of the message, where it is known."""

    leak: Array
    lsb: float | None = None

    integer = LeakyIntegrator

    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        v = at(self.leak) * state[0] + current if state else current
        return Fired(v, v, (v,))

    def message(self, name: str, settled: Settled) -> Fitted:
        """The range is HEAD_ROOM times the largest calibrated value, unless its LSB is known."""
        largest = HEAD_ROOM * max(abs(settled.statistics.low[name]), abs(settled.statistics.high[name]))
        wanted = settled.config.bits.get(name, settled.config.message_bits)

        def message(bits: int) -> Message:
            if self.lsb is not None:
                return Message(bits, True, self.lsb * 2.0 ** (wanted - bits))
            return Message(bits, True, max(largest / (2 ** (bits - 1) - 1), LEAST_LSB))

        return settled.fit(name, message, wanted, 2)

    def in_units(self, unit: float, spike_shift: int, state_bits: int) -> LeakyIntegrator:
        (leak,), shift = scaled_leaks(self.leak)
        return LeakyIntegrator(leak, shift, spike_shift)
