"""What neurons share: time-steps and state; thresholds and leaks per step, MPBN, the choice of fused arithmetic."""

import torch
from torch import Tensor, nn

from ..distributed import JointBatchNorm2d
from ..errors import ModelError
from ..fused import cpu, triton
from .graded_spike import GradedSpike
from .temporal import Temporal


class Neuron(Temporal):
    """A layer of neurons: the current of a time-step in, its spikes out, (N, C, H, W) or (N, C).

    With step None the input is the current of all time-steps, (T*N, ...), and so is the output.

    Attributes:
        spike: the GradedSpike quantiser that makes, or describes, the output.
        mpbn: whether the membrane is normalised (eq. 5), by ``norms``.
        detach_state: cut the gradient between time-steps (online learning); ``set_online`` switches it.
    """

    mpbn = False

    def __init__(self, channels: int, time_steps: int, spike: GradedSpike | None = None) -> None:
        super().__init__(time_steps)
        self.channels = channels
        self.spike = spike if spike is not None else GradedSpike()
        self.detach_state = True

    def forward(self, current: Tensor) -> Tensor:
        if self.step is not None:
            return self.fire(current, self.step)
        # unbind: the gradient of one index at a time would be as large as that of all steps
        steps = current.unflatten(0, (self.time_steps, -1)).unbind(0)
        return torch.cat([self.fire(of_step, step) for step, of_step in enumerate(steps)])

    def fire(self, current: Tensor, step: int) -> Tensor:
        """The spikes of one time-step, after which the state is that of the step's end."""
        raise NotImplementedError

    def membrane(self, current: Tensor, step: int) -> Tensor:
        """What is compared with the threshold at a time-step; the state stays as it is."""
        raise NotImplementedError

    def threshold(self) -> Tensor:
        """theta_t, float64 (T,)."""
        raise NotImplementedError

    def factors(self) -> dict[str, Tensor]:
        """What couples an LM-H neuron's compartments, float64 (T,), by name; nothing for all others."""
        return {}

    def detach(self) -> None:
        """Cut the gradient behind the state as it is now."""

    def after(self, norm: nn.Module, x: Tensor) -> Tensor:
        """The spikes for the current ``norm(x)``: in one pass over memory where `fused.cpu` has it."""
        return self(norm(x))

    def extra_repr(self) -> str:
        return f"channels={self.channels}, time_steps={self.time_steps}"


class NormalisedNeuron(Neuron):
    """What HM-DF's neurons and the LIF baseline share: a threshold per step, and MPBN (eq. 5):

        m^_t = alpha_t m_t + beta_t BN_t(m_t)

    lambda, theta, alpha and beta are one scalar per layer and step, the sigmoid of a parameter that starts at 0, hence
    0.5.

    Attributes:
        norms: T BatchNorm2d(C), one per step; empty when ``mpbn`` is False.
    """

    def __init__(self, channels: int, time_steps: int, mpbn: bool = False, spike: GradedSpike | None = None) -> None:
        super().__init__(channels, time_steps, spike)
        self.mpbn = mpbn
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

    def membrane(self, current: Tensor, step: int) -> Tensor:
        """m^_t of a neuron without a membrane: the current, normalised."""
        return self._normalise(current, step)

    def _normalise(self, m: Tensor, step: int) -> Tensor:
        """m^_t of eq. 5 (the identity without MPBN)."""
        if not self.mpbn:
            return m
        norm = self.norms[step]
        normalised = norm(m) if m.dim() == 4 else norm(m[:, :, None, None])[:, :, 0, 0]
        return (self.alpha_logit[step].sigmoid() * m).add_(self.beta_logit[step].sigmoid() * normalised)

    def _fused_norm(self, norm: nn.Module, x: Tensor) -> JointBatchNorm2d | None:
        """``norm`` if it and this neuron are computed in one pass."""
        # what traces or observes the two modules wants to see each of them called
        observed = bool(self._forward_hooks or norm._forward_hooks)
        if isinstance(x, Tensor) and isinstance(norm, JointBatchNorm2d) and not observed:
            return norm if norm.fuses(x) and self._fuses(x) and not self.mpbn else None
        return None

    def _fuses(self, current: Tensor) -> bool:
        """Whether `fused.cpu` has this neuron, from its membrane on where it has MPBN."""
        return self.spike.is_fused and cpu.fits(current)

    def _fuses_on_gpu(self, current: Tensor) -> bool:
        """Whether `fused.triton` has this neuron, from its membrane on where it has MPBN."""
        return self.spike.is_fused and triton.fits(current)

    def _quantiser(self) -> tuple[float, int | None]:
        return self.spike.lsb_value(), self.spike.bits

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mpbn={self.mpbn}"


class MembraneNeuron(NormalisedNeuron):
    """A neuron with a membrane ``v`` (None before the first step: zero) and a leak lambda_t."""

    has_state = True

    def __init__(self, channels: int, time_steps: int, mpbn: bool = False, spike: GradedSpike | None = None) -> None:
        super().__init__(channels, time_steps, mpbn, spike)
        self.leak_logit = nn.Parameter(torch.zeros(time_steps))
        self.v: Tensor | None = None

    def reset(self) -> None:
        super().reset()
        self.v = None

    def detach(self) -> None:
        if self.v is not None:
            self.v = self.v.detach()

    def leak(self) -> Tensor:
        return _probability(self.leak_logit)

    def membrane(self, current: Tensor, step: int) -> Tensor:
        """m^_t of m_t = lambda_t v_{t-1} + I_t (eq. 3)."""
        if self.v is None:
            return self._normalise(current, step)
        return self._normalise(self.leak_logit[step].sigmoid() * self.v + current, step)

    def _leaking(self, current: Tensor, step: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """(current, v, lambda) of a step; with MPBN (m^_t, None, 0).

        Lambda takes no part, nor does its gradient, before there is a membrane.
        """
        if self.mpbn:
            return self.membrane(current, step).to(current.dtype), None, current.new_zeros((), dtype=torch.float32)
        leak = self.leak_logit[step].sigmoid()
        return current, self.v, leak.detach() if self.v is None else leak

    def _keep(self, v: Tensor | None) -> None:
        """Let ``v`` be the membrane after this step, for the graph too unless the state is detached."""
        self.v = v.detach() if v is not None and self.detach_state else v


def set_online(model: nn.Module, online: bool) -> None:
    """Detach the state between time-steps (online learning, eq. 4) or keep it in the graph (STBP)."""
    for module in model.modules():
        if isinstance(module, Neuron):
            module.detach_state = online


def detach(model: nn.Module) -> None:
    """Cut the gradient behind the state that every neuron has now."""
    for module in model.modules():
        if isinstance(module, Neuron):
            module.detach()


def _probability(logit: Tensor) -> Tensor:
    return logit.detach().sigmoid().double().cpu()


def _logit(value: float, time_steps: int) -> Tensor:
    if not 0 <= value <= 1:
        raise ModelError(f"a mixture coefficient must lie in 0..1 (got {value})")
    return torch.full((time_steps,), value, dtype=torch.float64).logit()
