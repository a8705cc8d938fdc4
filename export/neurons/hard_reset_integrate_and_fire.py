"""The leaky integrate-and-fire neuron with a hard reset: that of NIR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hmdf.sim.contract import HardResetIntegrateAndFire

from ..graph import Array, AtStep, Fired
from .firing import FloatResetToZero, scaled_leaks


@dataclass(frozen=True)
class FloatHardResetIntegrateAndFire(FloatResetToZero):
    """m = leak v + I; s = [m > threshold], or >=; v <- 0 where s, else m. leak: (T or 1, C or 1)."""

    leak: Array

    integer = HardResetIntegrateAndFire

    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        m = at(self.leak) * state[0] + current if state else current
        s = self.fires(m, at)
        return Fired(s, m, (m * (1 - s),))

    def in_units(self, unit: float, spike_shift: int, state_bits: int) -> HardResetIntegrateAndFire:
        (leak,), shift = scaled_leaks(self.leak)
        reset = np.zeros((1, 1), np.int64)
        return HardResetIntegrateAndFire(leak, shift, self.threshold_in(unit, state_bits), reset)
