"""Graded spikes as messages: the quantiser of a neuron's output, and its gradients."""

from math import log2
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import ModelError

Activation = Literal["relu", "clipped", "power-of-two"]


def powers_of_two(bits: int) -> list[int]:
    """By message q of ``bits`` bits, the power of two nearest to it on a logarithmic scale, at most 2^(bits - 1); 0 is
    0.
    """
    return [0, *(1 << min(round(log2(q)), bits - 1) for q in range(1, 2**bits))]


class GradedSpike(nn.Module):
    """Quantise s >= 0 to an unsigned message: ``clamp(round(s / lsb), 0, 2^bits - 1) * lsb``.

    Args:
        bits: 1..8, or None for unquantised spikes.
        lsb: real value of one step of the message.
        learn_lsb: learn the LSB by gradient; it is stored as log2(lsb) so that it stays positive.
        activation: what the message is of s, and its gradient. relu: as above, with the gradient below. clipped: the
            same value, and no gradient in s above the largest message. power-of-two: that value rounded to a power of
            two of LSBs (`powers_of_two`), with relu's gradient; it needs 2..7 bits. All are exact in integers.

    Gradient: straight-through (identity) in s with a fixed LSB. With a learned one, as in LSQ (Esser 2020): identity in
    s within the range and 0 above it; with respect to the LSB ``round(s/lsb) - s/lsb`` within the range,
    ``2^bits - 1`` above, times ``1/sqrt(elements * (2^bits - 1))``.
    """

    lsb: Tensor

    def __init__(
        self, bits: int | None = 4, lsb: float = 0.25, learn_lsb: bool = False, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        if bits is not None and not 1 <= bits <= 8:
            raise ModelError(f"spike bits must be 1..8 or None (got {bits})")
        if not 0 < lsb < float("inf"):
            raise ModelError(f"spike LSB must be positive and finite (got {lsb})")
        if activation != "relu" and bits is None:
            raise ModelError(f"spikes that are not quantised are relu (got the activation {activation})")
        if activation == "power-of-two" and bits not in range(2, 8):
            raise ModelError(f"spikes that are powers of two have 2..7 bits (got {bits})")
        self.bits, self.activation = bits, activation
        self.learn_lsb = learn_lsb and bits is not None
        if self.learn_lsb:
            self.log2_lsb = nn.Parameter(torch.tensor(lsb, dtype=torch.float64).log2().float())
        else:
            self.register_buffer("lsb", torch.tensor(lsb))

    @property
    def is_fused(self) -> bool:
        """Whether the fused arithmetic of `fused` is this quantiser's."""
        return not self.learn_lsb and self.activation == "relu"

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
            lsb = self.log2_lsb.exp2()
            spikes = _LearnedQuantise.apply(s, lsb, top)
        else:
            lsb, quantise = self.lsb, _ClippedQuantise if self.activation == "clipped" else _FixedQuantise
            spikes = quantise.apply(s, lsb, top)
        return _PowerOfTwo.apply(spikes, lsb.detach(), self.bits) if self.activation == "power-of-two" else spikes

    def extra_repr(self) -> str:
        known = f"bits={self.bits}, lsb={self.lsb_value():g}, learn_lsb={self.learn_lsb}"
        return known if self.activation == "relu" else f"{known}, activation={self.activation}"


class _FixedQuantise(torch.autograd.Function):
    """clamp(round(s / lsb), 0, top) * lsb with the identity as gradient."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, lsb: Tensor, top: int) -> Tensor:
        return (s / lsb).round_().clamp_(0, top).mul_(lsb)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad, None, None


class _ClippedQuantise(torch.autograd.Function):
    """The same value, with a gradient of 0 above the largest message."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, lsb: Tensor, top: int) -> Tensor:
        ctx.save_for_backward(s / lsb <= top)
        return (s / lsb).round_().clamp_(0, top).mul_(lsb)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None


class _PowerOfTwo(torch.autograd.Function):
    """Messages of `bits` bits to powers of two, with the identity as gradient."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, lsb: Tensor, bits: int) -> Tensor:
        levels = torch.tensor(powers_of_two(bits), dtype=spikes.dtype, device=spikes.device)
        return levels[(spikes / lsb).round_().long()].mul_(lsb)

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
