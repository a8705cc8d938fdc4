"""The QCFS activation: an ANN of it becomes a network of LM-H neurons (LM-H, ICLR 2024, eq. 10, after Bu 2022)."""

from typing import Any

import torch
from torch import Tensor, nn

from .base import Neuron
from .graded_spike import GradedSpike


class QuantisedActivation(Neuron):
    """QCFS, quantisation clip floor shift, of an ANN: no time, no state.

        a = theta clip(floor(x L / theta + 1/2) / L, 0, 1)

    theta > 0 is learned, one scalar per layer; the floor's gradient is 1. An LM-H neuron as it starts (mu_D = mu_S = 0,
    lambda_S = lambda_D = 1, v_0 = theta / 2) sends spikes whose mean over T = L steps is a, for a constant current x.

    Args:
        levels: L.
        threshold: theta at the start of training.
    """

    def __init__(self, channels: int, levels: int = 4, threshold: float = 8.0) -> None:
        super().__init__(channels, 1, GradedSpike(bits=None))
        self.levels = levels
        self.theta = nn.Parameter(torch.tensor(threshold))

    def threshold(self) -> Tensor:
        return self.theta.detach().abs().double().cpu().reshape(1)

    def fire(self, current: Tensor, step: int) -> Tensor:
        theta = self.theta.abs()  # an update may carry it past 0
        level = _Floor.apply(current * (self.levels / theta) + 0.5).clamp(0, self.levels)
        return level * (theta / self.levels)

    def membrane(self, current: Tensor, step: int) -> Tensor:
        return current

    def extra_repr(self) -> str:
        return f"channels={self.channels}, levels={self.levels}"


class _Floor(torch.autograd.Function):
    """floor(x), gradient 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.floor()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad
