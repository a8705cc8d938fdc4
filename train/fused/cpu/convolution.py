"""Convolutions of spikes with low-bit weights, in the processor's 8-bit dot products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .tensors import messages_of


def pack(integer: Tensor, stride: tuple[int, ...], padding: tuple[int, ...] | str, dilation: tuple[int, ...]) -> Tensor:
    """Integer weights (C_out, C_in, Kh, Kw) in the layout that `convolve` takes."""
    unit = torch.ones(integer.shape[0])
    weight = integer.to(torch.int8)
    return torch.ops.onednn.qconv_prepack(weight, unit, 1.0, 0, stride, padding, dilation, 1, None)


def convolve(
    x: Tensor,
    weight: Tensor,
    packed: Tensor,
    scale: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...] | str,
    dilation: tuple[int, ...],
) -> Tensor:
    """conv2d(x, weight) for spikes ``x`` that carry messages and ``weight = scale * integer``, in integers.

    ``packed`` is `pack` of the integers, ``scale`` float32 (C_out,). Returns (N, C_out, H', W'); gradients flow to x
    and weight.
    """
    return _Convolution.apply(x, weight.to(x.dtype), packed, scale, stride, padding, dilation, messages_of(x))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        packed: Tensor,
        scale: Tensor,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        carried: tuple[Tensor, float],
    ) -> Tensor:
        messages, lsb = carried
        ctx.save_for_backward(x, weight)
        ctx.geometry = list(stride), list(padding), list(dilation)
        no_offset = torch.zeros(len(scale), dtype=torch.int64)
        geometry = stride, padding, dilation, 1
        output: tuple[Any, ...] = (1.0, 0, x.dtype, "none", [], "")
        return torch.ops.onednn.qconv2d_pointwise(messages, lsb, 0, packed, scale, no_offset, None, *geometry, *output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        wanted = [*ctx.needs_input_grad[:2], False]
        grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, stride, padding, dilation, False, [0, 0], 1, wanted
        )
        return grad_x, grad_weight, None, None, None, None, None, None
