"""The leaky integrate-and-fire neuron with binary spikes: the baseline."""

from typing import Any

import torch
from torch import Tensor

from ..fused import cpu
from .base import MembraneNeuron
from .graded_spike import GradedSpike


class LeakyIntegrateAndFire(MembraneNeuron):
    """LIF baseline: s_t = 1 if m^_t >= theta_t else 0; soft reset v_t = m^_t - s_t theta_t; m^_t as in HybridFiring.

    ds/dm is the triangle surrogate max(0, 1 - |m - theta|). ``spike`` describes the binary message (1 bit, LSB 1).
    """

    def __init__(self, channels: int, time_steps: int, mpbn: bool = False) -> None:
        super().__init__(channels, time_steps, mpbn, GradedSpike(bits=1, lsb=1.0))

    def fire(self, current: Tensor, step: int) -> Tensor:
        theta = self.threshold_logit[step].sigmoid()
        if self._fuses(current):
            spike, v = cpu.fire_binary(*self._leaking(current, step), theta)
        else:
            m = self.membrane(current, step)
            spike = _TriangleSpike.apply(m - theta)
            v = m - spike * theta
        self._keep(v)
        return spike


class _TriangleSpike(torch.autograd.Function):
    """1 where x >= 0, else 0; gradient max(0, 1 - |x|)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (1 - x.abs()).clamp_(min=0)
