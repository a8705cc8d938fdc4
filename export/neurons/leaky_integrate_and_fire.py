"""The leaky integrate-and-fire neuron with binary spikes: the papers' baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from torch import Tensor

from hmdf.sim.contract import LeakyIntegrateAndFire
from hmdf.train import neurons as trained

from ..graph import Array, AtStep, Fired
from .firing import FloatBinaryFiring, per_step, scaled_leaks


@dataclass(frozen=True)
class FloatLeakyIntegrateAndFire(FloatBinaryFiring):
    """m = leak v + I; s = [m >= threshold]; v <- m - s threshold. leak: (T or 1, C or 1)."""

    leak: Array

    integer = LeakyIntegrateAndFire
    module = trained.LeakyIntegrateAndFire

    @classmethod
    def from_module(cls, module: Any) -> Self:
        return cls(per_step(module.threshold()), 1.0, np.zeros((1, 1)), per_step(module.leak()))

    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        (v,) = state or (at(self.initial),)
        m = at(self.leak) * v + current
        s, v = self.fired(m, at)
        return Fired(s, m, (v,))

    def in_units(self, unit: float, spike_shift: int, state_bits: int) -> LeakyIntegrateAndFire:
        (leak,), shift = scaled_leaks(self.leak)
        return LeakyIntegrateAndFire(leak, shift, self.threshold_in(unit, state_bits))
