"""Loihi's own neuron: a synaptic current that decays drives a membrane that leaks; hard reset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmdf.sim.contract import CurrentBasedLeakyIntegrateAndFire

from ..graph import Array, AtStep, Fired
from ..integers import rounded
from .firing import FloatResetToZero

DECAY_BITS = 12


@dataclass(frozen=True)
class FloatCurrentBasedLeakyIntegrateAndFire(FloatResetToZero):
    """u <- current_leak u + I; m = leak v + u + membrane_bias; s = [m > threshold], or >=; v <- 0 where s, else m.

    current_leak, leak, membrane_bias: (T or 1, C or 1).
    """

    current_leak: Array
    leak: Array
    membrane_bias: Array

    integer = CurrentBasedLeakyIntegrateAndFire

    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        u, m = current, current + at(self.membrane_bias)
        if state:
            u = at(self.current_leak) * state[0] + current
            m = at(self.leak) * state[1] + u + at(self.membrane_bias)
        s = self.fires(m, at)
        return Fired(s, torch.maximum(u.abs(), m.abs()), (u, m * (1 - s)))

    def in_units(self, unit: float, spike_shift: int, state_bits: int) -> CurrentBasedLeakyIntegrateAndFire:
        bias, reset = rounded(self.membrane_bias / unit), np.zeros((1, 1), np.int64)
        return CurrentBasedLeakyIntegrateAndFire(
            _decay(self.current_leak), _decay(self.leak), bias, self.threshold_in(unit, state_bits), reset
        )


def _decay(leak: Array) -> NDArray[np.int64]:
    return rounded(np.clip(leak, 0, 1) * 2**DECAY_BITS)
