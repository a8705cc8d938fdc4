"""The HM-DF neuron without a membrane (fig. 2a)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from hmdf.sim.contract import ParallelFiring
from hmdf.train import neurons as trained

from ..graph import AtStep, Fired
from .firing import FloatGradedFiring, per_step, spike_format


@dataclass(frozen=True)
class FloatParallelFiring(FloatGradedFiring):
    """s = ReLU(I - threshold)."""

    integer = ParallelFiring
    module = trained.ParallelFiring

    @classmethod
    def from_module(cls, module: Any) -> Self:
        return cls(per_step(module.threshold()), spike_format(module))

    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        return Fired(self.graded(current, at), current)

    def in_units(self, unit: float, spike_shift: int, state_bits: int) -> ParallelFiring:
        return ParallelFiring(self.threshold_in(unit, state_bits), spike_shift)
