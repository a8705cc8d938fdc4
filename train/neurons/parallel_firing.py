"""The HM-DF neuron without a membrane (arXiv 2410.07547 v2, fig. 2a)."""

import torch
from torch import Tensor, nn

from ..fused import cpu, triton
from .base import NormalisedNeuron


class ParallelFiring(NormalisedNeuron):
    """HM-DF neuron without membrane (fig. 2a): s_t = ReLU(I^_t - theta_t).

    I^_t is I_t, or alpha_t I_t + beta_t BN_t(I_t) with mpbn.
    No step depends on another, so all of them may run at once (``set_step(model, None)``).
    """

    def after(self, norm: nn.Module, x: Tensor) -> Tensor:
        fused_norm = self._fused_norm(norm, x)
        if self.step is None or fused_norm is None:
            return super().after(norm, x)
        theta = self.threshold_logit[self.step].sigmoid()
        return fused_norm.fire(x, None, torch.zeros(()), theta, *self._quantiser(), membrane=False)[0]

    def forward(self, current: Tensor) -> Tensor:
        if self.step is not None or self.mpbn:
            return super().forward(current)
        if not torch.is_grad_enabled() and self._fuses(current):
            return cpu.fire_folded(current, self.threshold_logit.sigmoid(), *self._quantiser())
        steps = current.unflatten(0, (self.time_steps, -1))
        theta = self.threshold_logit.sigmoid().view(-1, *[1] * current.dim())
        return self.spike((steps - theta).relu_().flatten(0, 1))

    def fire(self, current: Tensor, step: int) -> Tensor:
        theta = self.threshold_logit[step].sigmoid()
        m = self.membrane(current, step)
        if self._fuses(m):
            return cpu.fire(m, None, torch.zeros(()), theta, *self._quantiser(), membrane=False)[0]
        if self._fuses_on_gpu(m):
            return triton.fire(m, None, theta, theta, self.spike.lsb, self.spike.bits, membrane=False)[0]
        return self.spike((m - theta).relu_())
