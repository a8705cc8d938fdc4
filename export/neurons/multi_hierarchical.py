"""The LM-H neuron (eq. 4, 7): a dendrite and a soma with binary spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmdf.sim.contract import MultiHierarchical
from hmdf.train import neurons as trained

from ..graph import Array, AtStep, Fired
from .firing import FloatBinaryFiring, FloatFiring, per_step, scaled_leaks
from .leaky_integrate_and_fire import FloatLeakyIntegrateAndFire


@dataclass(frozen=True)
class FloatMultiHierarchical(FloatBinaryFiring):
    """d <- dendrite_leak d + dendrite_feedback v + I, with v of the step before; m = soma_leak v + soma_drive d;

    s = [m >= threshold]; v <- m - s threshold. Each factor (T or 1, 1).
    """

    dendrite_leak: Array
    dendrite_feedback: Array
    soma_leak: Array
    soma_drive: Array

    integer = MultiHierarchical
    module = trained.MultiHierarchical

    @classmethod
    def from_module(cls, module: Any) -> FloatFiring:
        """A neuron whose dendrite is the current itself is leaky integrate-and-fire: one state less, on more chips."""
        mu_d, mu_s, lambda_s, lambda_d = (_row(per_step(values)) for values in module.factors().values())
        threshold, worth = _row(per_step(module.threshold())), module.spike.lsb_value()
        initial = np.full((1, 1), module.initial_potential * worth)
        if not mu_d.any() and not mu_s.any() and (lambda_d == 1).all():
            return FloatLeakyIntegrateAndFire(threshold, worth, initial, lambda_s)
        return cls(threshold, worth, initial, mu_d, mu_s, lambda_s, lambda_d)

    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        d, v = state or (torch.zeros(()), at(self.initial))
        d = at(self.dendrite_leak) * d + at(self.dendrite_feedback) * v + current
        m = at(self.soma_leak) * v + at(self.soma_drive) * d
        s, v = self.fired(m, at)
        return Fired(s, torch.maximum(m.abs(), d.abs()), (d, v))

    def in_units(self, unit: float, spike_shift: int, state_bits: int) -> MultiHierarchical:
        factors, shift = scaled_leaks(self.dendrite_leak, self.dendrite_feedback, self.soma_leak, self.soma_drive)
        mu_d, mu_s, lambda_s, lambda_d = factors
        return MultiHierarchical(mu_d, mu_s, lambda_s, lambda_d, shift, self.threshold_in(unit, state_bits))


def _row(values: Array) -> Array:
    """One row where all steps agree."""
    return values[:1] if (values == values[0]).all() else values
