"""The HM-DF neuron (eq. 3; with eq. 5 folded by eq. 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from hmdf.sim.contract import HybridFiring
from hmdf.train import neurons as trained

from ..graph import Array, AtStep, Fired
from .firing import FloatGradedFiring, per_step, scaled_leaks, spike_format


@dataclass(frozen=True)
class FloatHybridFiring(FloatGradedFiring):
    """m = leak v + I; s = ReLU(m - threshold); v <- min(m, threshold). leak: (T or 1, C or 1)."""

    leak: Array

    integer = HybridFiring
    module = trained.HybridFiring

    @classmethod
    def from_module(cls, module: Any) -> Self:
        return cls(per_step(module.threshold()), spike_format(module), per_step(module.leak()))

    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        m = at(self.leak) * state[0] + current if state else current
        return Fired(self.graded(m, at), m, (torch.minimum(m, at(self.threshold)),))

    def in_units(self, unit: float, spike_shift: int, state_bits: int) -> HybridFiring:
        (leak,), shift = scaled_leaks(self.leak)
        return HybridFiring(leak, shift, self.threshold_in(unit, state_bits), spike_shift)
