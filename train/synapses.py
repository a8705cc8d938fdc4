"""Low-bit convolutions and linear layers: ternary (1.5 bit) and binary (1 bit) weights with a real-valued scale.

The stored ``weight`` is real-valued; each forward uses ``scale * integer`` with ``integer`` in {-1, 0, +1} or {-1, +1}.
``quantized()`` returns exactly these two factors.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .errors import ModelError
from .fused import cpu

__all__ = ["BinaryConv2d", "BinaryLinear", "LowBit", "TernaryConv2d", "TernaryLinear", "quantised_once"]

ScalePer = Literal["tensor", "channel"]


@dataclass(frozen=True, eq=False)
class Quantised:
    """A low-bit weight as it is used: ``weight = scale * integer``, all of the weight's dtype; no gradient."""

    integer: Tensor
    scale: Tensor
    packed: dict[Any, Tensor] = field(default_factory=dict)

    @cached_property
    def weight(self) -> Tensor:
        return self.integer * self.scale

    def packed_for(self, conv: nn.Conv2d) -> Tensor:
        """The integers in the layout that `cpu.convolve` takes."""
        geometry = conv.stride, conv.padding, conv.dilation
        if geometry not in self.packed:
            self.packed[geometry] = cpu.pack(self.integer, *geometry)
        return self.packed[geometry]

    @cached_property
    def scale_per_channel(self) -> Tensor:
        """(C_out,), float32."""
        return self.scale.flatten().expand(self.integer.shape[0]).float().contiguous()


class LowBit:
    """What all low-bit synapses offer.

    Attributes:
        weight_bits: 1 (binary) or 2 (ternary), as stored in a Program.
        scale_per: one scale for the whole tensor or one per output channel.
    """

    weight: Tensor
    weight_bits: int
    scale_per: ScalePer
    default_scale_per: ScalePer = "tensor"
    held: Quantised | None = None  # for as long as quantised_once holds it

    def quantized(self) -> tuple[Tensor, Tensor]:
        """(integer, scale): int8 of the weight's shape, float64 (C_out,); the weight in use is scale * integer."""
        integer, scale = self._factors(self.weight.detach())
        return integer.to(torch.int8), scale.double().flatten().expand(self.weight.shape[0]).clone()

    def low_bit_weight(self) -> Tensor:
        """scale * integer, with the straight-through gradient to ``weight``."""
        raise NotImplementedError

    @contextmanager
    def _quantised(self) -> Iterator[Quantised]:
        """Quantises once within the block."""
        before = self.held
        self.held = self.quantise()
        try:
            yield self.held
        finally:
            self.held = before

    def quantise(self) -> Quantised:
        """The weight as it is now, or as it was at the start of ``quantised_once``."""
        return Quantised(*self._factors(self.weight.detach())) if self.held is None else self.held

    def _factors(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integer weights (in the weight's dtype) and the scale, shaped to broadcast against them."""
        raise NotImplementedError

    def _mean(self, values: Tensor) -> Tensor:
        """Mean over the tensor or per output channel, shaped to broadcast against the weight."""
        dims = tuple(range(values.dim())) if self.scale_per == "tensor" else tuple(range(1, values.dim()))
        return values.mean(dims, keepdim=True)

    def _set_scale_per(self, scale_per: ScalePer | None) -> None:
        scale_per = self.default_scale_per if scale_per is None else scale_per
        if scale_per not in ("tensor", "channel"):
            raise ModelError(f"scale_per must be 'tensor' or 'channel' (got {scale_per!r})")
        self.scale_per = scale_per


@contextmanager
def quantised_once(model: nn.Module) -> Iterator[None]:
    """Quantise all low-bit weights now and reuse the result within the block, in which the weights must not change.

    Saves the work at every further time-step of a mini-batch; gradients pass straight through.
    """
    synapses = [module for module in model.modules() if isinstance(module, LowBit)]
    before = [synapse.held for synapse in synapses]
    try:
        for synapse in synapses:
            synapse.held = synapse.quantise()
        yield
    finally:
        for synapse, held in zip(synapses, before, strict=True):
            synapse.held = held


class _Ternary(LowBit):
    """Ternary weight network: Delta = 0.7 mean|w|; scale = mean of |w| over |w| > Delta; weights {-1, 0, +1}.

    Straight-through gradient: dL/dw is dL/d(scale * integer).
    """

    weight_bits = 2

    def low_bit_weight(self) -> Tensor:
        return _StraightThrough.apply(self.weight, self.quantise().weight)

    def _factors(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        magnitude = weight.abs()
        kept = (magnitude > 0.7 * self._mean(magnitude)).to(weight.dtype)
        share = self._mean(kept).clamp_(min=torch.finfo(weight.dtype).tiny)
        return weight.sign() * kept, self._mean(magnitude.mul_(kept)) / share


class _Binary(LowBit):
    """Binary weights: scale mean|w| times sign(w), sign(0) = +1.

    The scale is a constant for the gradient and w is clipped to [-1, 1] in it: dL/dw is dL/d(scale * integer) where
    |w| <= 1 and 0 elsewhere.
    """

    weight_bits = 1
    default_scale_per: ScalePer = "channel"

    def low_bit_weight(self) -> Tensor:
        return _StraightThrough.apply(self.weight.clamp(-1, 1), self.quantise().weight)

    def _factors(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        sign = torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)
        return sign, self._mean(weight.abs())


class _LowBitConv2d(LowBit, nn.Conv2d):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        scale_per: ScalePer | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self._set_scale_per(scale_per)

    def forward(self, x: Tensor) -> Tensor:
        if not self._runs_in_integers(x):
            return self._conv_forward(x, self.low_bit_weight(), self.bias)
        with self._quantised() as quantised:
            packed, scale = quantised.packed_for(self), quantised.scale_per_channel
            return cpu.convolve(x, self.low_bit_weight(), packed, scale, self.stride, self.padding, self.dilation)

    def _runs_in_integers(self, x: Tensor) -> bool:
        plain = self.groups == 1 and self.bias is None and self.padding_mode == "zeros" and self.padding != "same"
        return plain and cpu.messages_of(x) is not None and cpu.fits(x)


class _LowBitLinear(LowBit, nn.Linear):
    def __init__(
        self, in_features: int, out_features: int, bias: bool = False, scale_per: ScalePer | None = None
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self._set_scale_per(scale_per)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.low_bit_weight(), self.bias)


class TernaryConv2d(_Ternary, _LowBitConv2d):
    """Conv2d with ternary weights: (N, C_in, H, W) -> (N, C_out, H', W'); one scale per tensor by default."""


class TernaryLinear(_Ternary, _LowBitLinear):
    """Linear layer with ternary weights: (N, C_in) -> (N, C_out); one scale per tensor by default."""


class BinaryConv2d(_Binary, _LowBitConv2d):
    """Conv2d with 1-bit weights: (N, C_in, H, W) -> (N, C_out, H', W'); one scale per channel by default."""


class BinaryLinear(_Binary, _LowBitLinear):
    """Linear layer with 1-bit weights: (N, C_in) -> (N, C_out); one scale per channel by default."""


class _StraightThrough(torch.autograd.Function):
    """Forward returns ``quantised``; backward passes the gradient to ``weight`` unchanged."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, quantised: Tensor) -> Tensor:
        return quantised

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None
