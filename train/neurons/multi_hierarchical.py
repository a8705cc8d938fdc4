"""The learnable multi-hierarchical neuron (LM-H, ICLR 2024, eq. 4 and 7): a dendrite and a soma, coupled."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..fused import cpu, triton
from .base import Neuron
from .graded_spike import GradedSpike

# The factors mu_D, mu_S, lambda_S and lambda_D of the paper, and what each is when its sigmoid is 0.
LOWEST = {"dendrite_leak": -0.5, "dendrite_feedback": -0.5, "soma_leak": 0.5, "soma_drive": 0.5}


class MultiHierarchical(Neuron):
    """LM-H neuron (eq. 4, 7): a dendrite d and a soma v, with binary spikes that are worth the threshold theta:

        d_t = mu_D d_{t-1} + mu_S v_{t-1} + I_t
        m_t = lambda_S v_{t-1} + lambda_D d_t
        s_t = theta if m_t >= theta else 0
        v_t = m_t - s_t

    from d_0 = 0 and v_0 = initial_potential theta. Each mu is sigmoid(x) - 1/2, each lambda sigmoid(x) + 1/2, of an x
    that is learned and starts at 0: as an integrate-and-fire neuron. x is one scalar per layer; with ``radical``
    (eq. 7) one per step too. LIF is the case mu_D = mu_S = 0, lambda_D = 1.

    The reset is outside the gradient, dv/dm = 1, and ds/dm is the triangle theta max(0, width - |m - theta|) / width^2,
    so that (eq. 9) dm_{t+1}/dm_t = lambda_S + lambda_D mu_S along the soma and dd_{t+1}/dd_t = mu_D + lambda_D mu_S
    along the dendrite.

    Args:
        threshold: theta, fixed; the LSB of ``spike``, which describes the 1-bit message.
        initial_potential: of the soma, in units of theta.
        width: of the surrogate's triangle, to either side.
        learned: whether training changes the factors.
    """

    has_state = True

    def __init__(
        self,
        channels: int,
        time_steps: int,
        radical: bool = False,
        threshold: float = 1.0,
        initial_potential: float = 0.5,
        width: float = 1.0,
        learned: bool = True,
    ) -> None:
        super().__init__(channels, time_steps, GradedSpike(bits=1, lsb=threshold))
        self.radical = radical
        self.initial_potential = initial_potential
        self.width = width
        shape = time_steps if radical else 1
        for name in LOWEST:
            self.register_parameter(f"{name}_logit", nn.Parameter(torch.zeros(shape), requires_grad=learned))
        self.d: Tensor | None = None
        self.v: Tensor | None = None

    def reset(self) -> None:
        super().reset()
        self.d = self.v = None

    def detach(self) -> None:
        if self.d is not None and self.v is not None:
            self.d, self.v = self.d.detach(), self.v.detach()

    def threshold(self) -> Tensor:
        return self.spike.lsb.double().cpu().expand(self.time_steps).clone()

    def factors(self) -> dict[str, Tensor]:
        """mu_D, mu_S, lambda_S and lambda_D under the names of a Program's, float64 (T,)."""
        with torch.no_grad():
            steps = [self._factors(step) for step in range(self.time_steps)]
        return {name: torch.stack(of).double().cpu() for name, of in zip(LOWEST, zip(*steps, strict=True), strict=True)}

    def set_factors(self, factors: Mapping[str, float]) -> None:
        """Set some of the factors, at all steps, to values in their ranges, both ends included exactly.

        mu lies in -1/2..1/2 and lambda in 1/2..3/2. A factor at an end stays there in training: the gradient is zero.
        """
        for name, value in factors.items():
            low = LOWEST[name]
            if not low <= value <= low + 1:
                raise ModelError(f"{name} must lie in {low}..{low + 1} (got {value})")
            with torch.no_grad():
                self.get_parameter(f"{name}_logit").fill_(torch.tensor(value - low, dtype=torch.float64).logit())

    def fire(self, current: Tensor, step: int) -> Tensor:
        factors, theta = self._factors(step), self.spike.lsb
        if fused := cpu if cpu.fits(current) else triton if triton.fits(current) else None:
            state = self._state(current, full=True)
            spikes, d, v = fused.fire_hierarchical(current, *state, *factors, theta, self.width)
        else:
            d, m = _integrate(current, *self._state(current), *factors)
            spikes = _TriangleSpike.apply(m, theta, self.width)
            v = m - spikes.detach()
        self.d, self.v = (d.detach(), v.detach()) if self.detach_state else (d, v)
        return spikes

    def membrane(self, current: Tensor, step: int) -> Tensor:
        return _integrate(current, *self._state(current), *self._factors(step))[1]

    def _factors(self, step: int) -> list[Tensor]:
        """mu_D, mu_S, lambda_S and lambda_D of a step."""
        at = step if self.radical else 0
        return [self.get_parameter(f"{name}_logit")[at].sigmoid() + low for name, low in LOWEST.items()]

    def _state(self, current: Tensor, full: bool = False) -> tuple[Tensor, Tensor]:
        """(d, v) of the step before; before the first step scalars, or as large as the current."""
        if self.d is not None and self.v is not None:
            return self.d, self.v
        zero, start = current.new_zeros(()), (self.initial_potential * self.spike.lsb).to(current.dtype)
        if not full:
            return zero, start
        return torch.zeros_like(current, requires_grad=False), torch.empty_like(current).copy_(start)

    def extra_repr(self) -> str:
        about = f"threshold={self.spike.lsb_value():g}, initial_potential={self.initial_potential:g}"
        return f"{super().extra_repr()}, radical={self.radical}, {about}, width={self.width:g}"


def _integrate(
    current: Tensor, d: Tensor, v: Tensor, mu_d: Tensor, mu_s: Tensor, lambda_s: Tensor, lambda_d: Tensor
) -> tuple[Tensor, Tensor]:
    """(d_t, m_t) of the state before."""
    d = mu_d * d + mu_s * v + current
    return d, lambda_s * v + lambda_d * d


class _TriangleSpike(torch.autograd.Function):
    """theta where m >= theta, else 0; gradient theta max(0, width - |m - theta|) / width^2."""

    @staticmethod
    def forward(ctx: Any, m: Tensor, theta: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(m, theta)
        ctx.width = width
        return (m >= theta).to(m.dtype).mul_(theta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        m, theta = ctx.saved_tensors
        slope = (ctx.width - (m - theta).abs()).clamp_(min=0)
        return grad * slope * (theta / ctx.width**2), None, None
