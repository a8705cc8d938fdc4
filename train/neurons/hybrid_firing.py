"""The HM-DF neuron (arXiv 2410.07547 v2, eq. 3, 5)."""

import torch
from torch import Tensor, nn

from ..fused import cpu, triton
from .base import MembraneNeuron


class HybridFiring(MembraneNeuron):
    """HM-DF neuron (eq. 3, 5):

        m_t  = lambda_t v_{t-1} + I_t
        m^_t = alpha_t m_t + beta_t BN_t(m_t)        with mpbn, else m^_t = m_t
        s_t  = ReLU(m^_t - theta_t)                  graded spike, then quantised by ``spike``
        v_t  = min(m^_t, theta_t)                    P2-Reset, from the unquantised s_t

    ds/dm is 1 above the threshold and 0 below: no surrogate gradient.
    """

    def after(self, norm: nn.Module, x: Tensor) -> Tensor:
        fused_norm = self._fused_norm(norm, x)
        if self.step is None or fused_norm is None:
            return super().after(norm, x)
        theta = self.threshold_logit[self.step].sigmoid()
        spikes, v = fused_norm.fire(*self._leaking(x, self.step), theta, *self._quantiser(), membrane=True)
        self._keep(v)
        return spikes

    def fire(self, current: Tensor, step: int) -> Tensor:
        theta = self.threshold_logit[step].sigmoid()
        if self._fuses(current):
            spikes, v = cpu.fire(*self._leaking(current, step), theta, *self._quantiser())
            self._keep(v)
            return spikes
        if self.detach_state and self._fuses_on_gpu(current):
            spikes, self.v = triton.fire(*self._leaking(current, step), theta, self.spike.lsb, self.spike.bits)
            return spikes
        m = self.membrane(current, step)
        if self.detach_state:
            self.v = torch.minimum(m.detach(), theta.detach().to(m.dtype))
        else:
            self.v = torch.where(m > theta, theta.to(m.dtype), m)
        return self.spike((m - theta).relu_())
