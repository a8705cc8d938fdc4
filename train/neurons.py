"""Spiking neurons of the HM-DF family and the LIF baseline (HM-DF, arXiv 2410.07547 v2, eq. 3, 5, fig. 2a).

A network's forward computes ONE time-step. A neuron holds its own state between the steps of a sample and never
advances its step by itself; whoever runs the network does:

    reset(model)
    for t in range(time_steps):
        set_step(model, t)
        logits = model(x)

A neuron that is called twice within a step updates its membrane twice; share only ``ParallelFiring``, which has none.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .distributed import JointBatchNorm2d
from .errors import ModelError
from .fused import cpu, gpu

__all__ = [
    "GradedSpike",
    "HybridFiring",
    "LeakyIntegrateAndFire",
    "Neuron",
    "ParallelFiring",
    "Temporal",
    "reset",
    "set_online",
    "set_step",
    "temporal_modules",
]


class Temporal(nn.Module):
    """A module that behaves differently at each time-step.

    ``time_steps`` is T; ``step`` the current index in 0..T-1, or None: all T steps folded into the batch, input
    (T*N, ...) with time as the slow axis (only modules with ``foldable`` accept that).
    """

    foldable: bool = False

    def __init__(self, time_steps: int) -> None:
        super().__init__()
        if time_steps < 1:
            raise ModelError(f"time_steps must be at least 1 (got {time_steps})")
        self.time_steps = time_steps
        self.step: int | None = 0

    def reset(self) -> None:
        """Back to step 0 with empty state, as before the first step of every sample."""
        self.step = 0


def temporal_modules(model: nn.Module) -> Iterator[tuple[str, Temporal]]:
    """All (module path, module) of ``model`` that depend on the time-step."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, Temporal))


def reset(model: nn.Module) -> None:
    """Clear every membrane and set step 0: to be called before each mini-batch."""
    for _, module in temporal_modules(model):
        module.reset()


def set_step(model: nn.Module, step: int | None) -> None:
    """Tell every temporal module which time-step comes next; None folds all steps into the batch.

    Raises ModelError for a step outside 0..T-1, and for None when some neuron has a membrane (its steps cannot be
    computed at once).
    """
    for name, module in temporal_modules(model):
        if step is None and not module.foldable:
            raise ModelError(f"{name}: {type(module).__name__} has a membrane, its time-steps cannot run in one batch")
        if step is not None and not 0 <= step < module.time_steps:
            raise ModelError(f"{name}: time-step {step} is outside 0..{module.time_steps - 1}")
        module.step = step


def set_online(model: nn.Module, online: bool) -> None:
    """Detach the membrane between time-steps (online learning, eq. 4) or keep it in the graph (STBP)."""
    for module in model.modules():
        if isinstance(module, MembraneNeuron):
            module.detach_state = online


class GradedSpike(nn.Module):
    """Quantise s >= 0 to an unsigned message: ``clamp(round(s / lsb), 0, 2^bits - 1) * lsb``.

    Args:
        bits: 1..8, or None for unquantised spikes.
        lsb: real value of one step of the message.
        learn_lsb: learn the LSB by gradient; it is stored as log2(lsb) so that it stays positive.

    Gradient: straight-through (identity) in s with a fixed LSB. With a learned one, as in LSQ (Esser 2020): identity in
    s within the range and 0 above it; with respect to the LSB ``round(s/lsb) - s/lsb`` within the range,
    ``2^bits - 1`` above, times ``1/sqrt(elements * (2^bits - 1))``.
    """

    lsb: Tensor

    def __init__(self, bits: int | None = 4, lsb: float = 0.25, learn_lsb: bool = False) -> None:
        super().__init__()
        if bits is not None and not 1 <= bits <= 8:
            raise ModelError(f"spike bits must be 1..8 or None (got {bits})")
        if not 0 < lsb < float("inf"):
            raise ModelError(f"spike LSB must be positive and finite (got {lsb})")
        self.bits = bits
        self.learn_lsb = learn_lsb and bits is not None
        if self.learn_lsb:
            self.log2_lsb = nn.Parameter(torch.tensor(lsb, dtype=torch.float64).log2().float())
        else:
            self.register_buffer("lsb", torch.tensor(lsb))

    def lsb_value(self) -> float:
        """Real value of one LSB, exactly as the forward uses it."""
        if self.learn_lsb:
            return float(self.log2_lsb.detach().exp2())
        return float(self.lsb)

    def forward(self, s: Tensor) -> Tensor:
        if self.bits is None:
            return s
        top = 2**self.bits - 1
        if self.learn_lsb:
            return _LearnedQuantise.apply(s, self.log2_lsb.exp2(), top)
        return _FixedQuantise.apply(s, self.lsb, top)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, lsb={self.lsb_value():g}, learn_lsb={self.learn_lsb}"


class Neuron(Temporal):
    """What all neurons share: per-step threshold, and MPBN (eq. 5): m^_t = alpha_t m_t + beta_t BN_t(m_t).

    Input and output are (N, C, H, W) or (N, C). lambda, theta, alpha and beta are one scalar per layer and step, the
    sigmoid of a parameter that starts at 0, hence 0.5.

    Attributes:
        norms: T BatchNorm2d(C), one per step; empty when ``mpbn`` is False.
        spike: the GradedSpike quantiser of the output.
    """

    def __init__(self, channels: int, time_steps: int, mpbn: bool = False, spike: GradedSpike | None = None) -> None:
        super().__init__(time_steps)
        self.channels = channels
        self.mpbn = mpbn
        self.spike = spike if spike is not None else GradedSpike()
        self.threshold_logit = nn.Parameter(torch.zeros(time_steps))
        self.norms = nn.ModuleList()
        if mpbn:
            self.alpha_logit = nn.Parameter(torch.zeros(time_steps))
            self.beta_logit = nn.Parameter(torch.zeros(time_steps))
            self.norms.extend(nn.BatchNorm2d(channels) for _ in range(time_steps))

    def leak(self) -> Tensor:
        """lambda_t, float64 (T,); zeros for a neuron without membrane."""
        return torch.zeros(self.time_steps, dtype=torch.float64)

    def threshold(self) -> Tensor:
        """theta_t, float64 (T,)."""
        return _probability(self.threshold_logit)

    def alpha(self) -> Tensor:
        """alpha_t, float64 (T,); ones without MPBN."""
        return _probability(self.alpha_logit) if self.mpbn else torch.ones(self.time_steps, dtype=torch.float64)

    def beta(self) -> Tensor:
        """beta_t, float64 (T,); zeros without MPBN."""
        return _probability(self.beta_logit) if self.mpbn else torch.zeros(self.time_steps, dtype=torch.float64)

    def set_mixture(self, alpha: float, beta: float) -> None:
        """Set alpha_t and beta_t of all steps to values in 0..1, both ends included exactly (infinite parameters).

        With alpha 1 and beta 0 the neuron computes what its plain form computes. A value of exactly 0 or 1 stays there
        in training, since the sigmoid's gradient is zero.
        """
        if not self.mpbn:
            raise ModelError("set_mixture needs a neuron with mpbn=True")
        with torch.no_grad():
            self.alpha_logit.copy_(_logit(alpha, self.time_steps))
            self.beta_logit.copy_(_logit(beta, self.time_steps))

    def _normalise(self, m: Tensor, step: int) -> Tensor:
        """m^_t of eq. 5 (the identity without MPBN)."""
        if not self.mpbn:
            return m
        norm = self.norms[step]
        normalised = norm(m) if m.dim() == 4 else norm(m[:, :, None, None])[:, :, 0, 0]
        return (self.alpha_logit[step].sigmoid() * m).add_(self.beta_logit[step].sigmoid() * normalised)

    def after(self, norm: nn.Module, x: Tensor) -> Tensor:
        """The spikes for the current ``norm(x)``: in one pass over memory where `fused.cpu` has it."""
        return self(norm(x))

    def _fused_norm(self, norm: nn.Module, x: Tensor) -> JointBatchNorm2d | None:
        """``norm`` if it and this neuron are computed in one pass."""
        # what traces or observes the two modules wants to see each of them called
        observed = bool(self._forward_hooks or norm._forward_hooks)
        if isinstance(x, Tensor) and isinstance(norm, JointBatchNorm2d) and not observed:
            return norm if norm.fuses(x) and self._fuses(x) else None
        return None

    def _fuses(self, current: Tensor) -> bool:
        """Whether `fused.cpu` has this neuron: without MPBN's own norms, with a fixed LSB, on a current of its kind."""
        return not self.mpbn and not self.spike.learn_lsb and cpu.fits(current)

    def _fuses_on_gpu(self, current: Tensor) -> bool:
        """Whether `fused.gpu` has this neuron, from its membrane on where it has MPBN."""
        return not self.spike.learn_lsb and gpu.fits(current)

    def _quantiser(self) -> tuple[float, int | None]:
        return self.spike.lsb_value(), self.spike.bits

    def _current_step(self) -> int:
        if self.step is None:
            raise ModelError(f"{type(self).__name__} has a membrane and cannot run all time-steps in one batch")
        return self.step

    def extra_repr(self) -> str:
        return f"channels={self.channels}, time_steps={self.time_steps}, mpbn={self.mpbn}"


class MembraneNeuron(Neuron):
    """A neuron with a membrane ``v`` (None before the first step: zero) and a leak lambda_t.

    ``detach_state`` cuts the gradient between time-steps (online learning); ``set_online`` switches it.
    """

    def __init__(self, channels: int, time_steps: int, mpbn: bool = False, spike: GradedSpike | None = None) -> None:
        super().__init__(channels, time_steps, mpbn, spike)
        self.leak_logit = nn.Parameter(torch.zeros(time_steps))
        self.detach_state = True
        self.v: Tensor | None = None

    def reset(self) -> None:
        super().reset()
        self.v = None

    def leak(self) -> Tensor:
        return _probability(self.leak_logit)

    def _membrane(self, step: int) -> tuple[Tensor | None, Tensor]:
        """(v, lambda) of a step; lambda takes no part, nor does its gradient, before there is a membrane."""
        leak = self.leak_logit[step].sigmoid()
        return self.v, leak.detach() if self.v is None else leak

    def _integrate(self, current: Tensor, step: int) -> Tensor:
        """m_t = lambda_t v_{t-1} + I_t (eq. 3), followed by MPBN."""
        if self.v is None:
            return self._normalise(current, step)
        return self._normalise(self.leak_logit[step].sigmoid() * self.v + current, step)


class HybridFiring(MembraneNeuron):
    """HM-DF neuron (eq. 3, 5)::

        m_t  = lambda_t v_{t-1} + I_t
        m^_t = alpha_t m_t + beta_t BN_t(m_t)        with mpbn, else m^_t = m_t
        s_t  = ReLU(m^_t - theta_t)                  graded spike, then quantised by ``spike``
        v_t  = min(m^_t, theta_t)                    P2-Reset, from the unquantised s_t

    ds/dm is 1 above the threshold and 0 below: no surrogate gradient.
    """

    def after(self, norm: nn.Module, x: Tensor) -> Tensor:
        fused_norm = self._fused_norm(norm, x) if self.detach_state else None
        if fused_norm is None:
            return super().after(norm, x)
        step = self._current_step()
        theta = self.threshold_logit[step].sigmoid()
        spikes, self.v = fused_norm.fire(x, *self._membrane(step), theta, *self._quantiser(), membrane=True)
        return spikes

    def forward(self, current: Tensor) -> Tensor:
        step = self._current_step()
        theta = self.threshold_logit[step].sigmoid()
        if self.detach_state and self._fuses(current):
            spikes, self.v = cpu.fire(current, *self._membrane(step), theta, *self._quantiser())
            return spikes
        if self.detach_state and self._fuses_on_gpu(current):
            known = self._membrane(step)
            if self.mpbn:
                current, known = self._integrate(current, step), (None, theta)
            spikes, self.v = gpu.fire(current, *known, theta, self.spike.lsb, self.spike.bits)
            return spikes
        m = self._integrate(current, step)
        if self.detach_state:
            self.v = torch.minimum(m.detach(), theta.detach().to(m.dtype))
        else:
            self.v = torch.where(m > theta, theta.to(m.dtype), m)
        return self.spike((m - theta).relu_())


class ParallelFiring(Neuron):
    """HM-DF neuron without membrane (fig. 2a): s_t = ReLU(I^_t - theta_t).

    I^_t is I_t, or alpha_t I_t + beta_t BN_t(I_t) with mpbn.
    No step depends on another, so all of them may run folded into the batch (``set_step(model, None)``).
    """

    foldable = True

    def after(self, norm: nn.Module, x: Tensor) -> Tensor:
        fused_norm = self._fused_norm(norm, x)
        if self.step is None or fused_norm is None:
            return super().after(norm, x)
        theta = self.threshold_logit[self.step].sigmoid()
        return fused_norm.fire(x, None, torch.zeros(()), theta, *self._quantiser(), membrane=False)[0]

    def forward(self, current: Tensor) -> Tensor:
        if self.step is not None:
            return self._fire(current, self.step)
        if not torch.is_grad_enabled() and self._fuses(current):
            return cpu.fire_folded(current, self.threshold_logit.sigmoid(), *self._quantiser())
        steps = current.unflatten(0, (self.time_steps, -1))
        if self.mpbn:
            return torch.cat([self._fire(steps[step], step) for step in range(self.time_steps)])
        theta = self.threshold_logit.sigmoid().view(-1, *[1] * current.dim())
        return self.spike((steps - theta).relu_().flatten(0, 1))

    def _fire(self, current: Tensor, step: int) -> Tensor:
        theta = self.threshold_logit[step].sigmoid()
        if self._fuses(current):
            return cpu.fire(current, None, torch.zeros(()), theta, *self._quantiser(), membrane=False)[0]
        m = self._normalise(current, step)
        if self._fuses_on_gpu(m):
            return gpu.fire(m, None, theta, theta, self.spike.lsb, self.spike.bits, membrane=False)[0]
        return self.spike((m - theta).relu_())


class LeakyIntegrateAndFire(MembraneNeuron):
    """LIF baseline: s_t = 1 if m^_t >= theta_t else 0; soft reset v_t = m^_t - s_t theta_t; m^_t as in HybridFiring.

    ds/dm is the triangle surrogate max(0, 1 - |m - theta|). ``spike`` describes the binary message (1 bit, LSB 1).
    """

    def __init__(self, channels: int, time_steps: int, mpbn: bool = False) -> None:
        super().__init__(channels, time_steps, mpbn, GradedSpike(bits=1, lsb=1.0))

    def forward(self, current: Tensor) -> Tensor:
        step = self._current_step()
        theta = self.threshold_logit[step].sigmoid()
        if self.detach_state and self._fuses(current):
            spike, self.v = cpu.fire_binary(current, *self._membrane(step), theta)
            return spike
        m = self._integrate(current, step)
        spike = _TriangleSpike.apply(m - theta)
        v = m - spike * theta
        self.v = v.detach() if self.detach_state else v
        return spike


class _FixedQuantise(torch.autograd.Function):
    """clamp(round(s / lsb), 0, top) * lsb with the identity as gradient."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, lsb: Tensor, top: int) -> Tensor:
        return (s / lsb).round_().clamp_(0, top).mul_(lsb)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad, None, None


class _LearnedQuantise(torch.autograd.Function):
    """The same value with the gradient of LSQ, for a learned LSB."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, lsb: Tensor, top: int) -> Tensor:
        ctx.save_for_backward(s, lsb)
        ctx.top = top
        return (s / lsb).round_().clamp_(0, top).mul_(lsb)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        s, lsb = ctx.saved_tensors
        ratio = s / lsb
        inside = ratio <= ctx.top
        slope = torch.where(inside, ratio.round() - ratio, float(ctx.top))
        grad_lsb = (grad * slope).sum() / (s.numel() * ctx.top) ** 0.5
        return grad * inside, grad_lsb.to(lsb.dtype), None


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


def _probability(logit: Tensor) -> Tensor:
    return logit.detach().sigmoid().double().cpu()


def _logit(value: float, time_steps: int) -> Tensor:
    if not 0 <= value <= 1:
        raise ModelError(f"a mixture coefficient must lie in 0..1 (got {value})")
    return torch.full((time_steps,), value, dtype=torch.float64).logit()
