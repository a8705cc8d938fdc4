"""The leaky integrate-and-fire neuron with binary spikes: the papers' baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from hmdf.sim.contract import LeakyIntegrateAndFire, Message
from hmdf.train import neurons as trained

from ..graph import Array, AtStep, Fired
from ..integers import Fitted, Settled
from .firing import FloatFiring, leaked, per_step, scaled_leak


@dataclass(frozen=True)
class FloatLeakyIntegrateAndFire(FloatFiring):
    """m = leak v + I; s = [m >= threshold]; v <- m - s threshold. leak: (T or 1, C or 1)."""

    leak: Array

    integer = LeakyIntegrateAndFire
    module = trained.LeakyIntegrateAndFire

    @classmethod
    def from_module(cls, module: Any) -> Self:
        return cls(per_step(module.threshold()), per_step(module.leak()))

    def step(self, current: Tensor, state: Tensor | None, at: AtStep) -> Fired:
        m, threshold = leaked(current, state, self.leak, at), at(self.threshold)
        s = (m >= threshold).to(m.dtype)
        return Fired(s, m, m - s * threshold)

    def message(self, name: str, settled: Settled) -> Fitted:
        return settled.fit(name, lambda _: Message(1, False, 1.0), 1, 1)

    def in_units(self, unit: float, spike_shift: int, state_bits: int) -> LeakyIntegrateAndFire:
        return LeakyIntegrateAndFire(*scaled_leak(self.leak), self.threshold_in(unit, state_bits))
