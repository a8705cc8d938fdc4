"""The hybrid neuron on a GPU in one pass over memory, in either direction, as Triton kernels.

What these functions compute is what `neurons` says with PyTorch's operators, there about a dozen passes; the tests hold
both against each other. Arithmetic is in 32-bit floats, whatever the type of the current. Triton comes with the CUDA
builds of PyTorch; without it the neurons do with the operators.
"""

from typing import Any

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

__all__ = ["fire", "fits"]

BLOCK = 2048
# Elements that a kernel's 32-bit index can tell apart.
MOST = 2**31 - BLOCK


def fits(x: Tensor) -> bool:
    """Whether ``x``, a current, is what `fire` takes: floats on a GPU, dense in memory in whatever order."""
    kinds = torch.float32, torch.bfloat16, torch.float16
    return triton is not None and x.is_cuda and x.dtype in kinds and x.numel() < MOST and _is_dense(x)


def fire(
    current: Tensor,
    v: Tensor | None,
    leak: Tensor,
    theta: Tensor,
    lsb: Tensor,
    bits: int | None,
    membrane: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """One step of HybridFiring (``membrane``) or ParallelFiring, detached from the step before: (spikes, new v)::

        m = leak v + current;  spikes = quantised ReLU(m - theta);  v = min(m, theta)

    ``current`` and ``v`` (None: zero) are of one shape; leak, theta and lsb scalars on the same device. Gradients flow
    to current, leak and theta: 1 above the threshold, 0 below, straight through the quantiser.
    """
    return _Fire.apply(current, v, leak, theta, lsb, bits, membrane, torch.is_grad_enabled())


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        v: Tensor | None,
        leak: Tensor,
        theta: Tensor,
        lsb: Tensor,
        bits: int | None,
        membrane: bool,
        differentiated: bool,
    ) -> tuple[Tensor, Tensor | None]:
        v = None if v is None else _like(v, current)
        spikes = torch.empty_like(current)
        v_new = torch.empty_like(current) if membrane else None
        fired = torch.empty_like(current, dtype=torch.uint8) if differentiated else None
        _fire_forward[_grid(current)](
            *(current, _or(v, current), leak, theta, lsb, spikes, _or(v_new, spikes), _or(fired, spikes)),
            current.numel(),
            TOP=0 if bits is None else 2**bits - 1,
            HAS_V=v is not None,
            MEMBRANE=membrane,
            DIFFERENTIATED=differentiated,
            BLOCK=BLOCK,
        )
        ctx.save_for_backward(fired, v)
        if v_new is not None:
            ctx.mark_non_differentiable(v_new)
        return spikes, v_new

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: object) -> tuple[Tensor | None, ...]:
        fired, v = ctx.saved_tensors
        grad = _like(grad, fired)
        grad_current = torch.empty_like(grad)
        grid = _grid(grad)
        # one sum per block, so that they are added in the same order every time
        sums = torch.empty((2, *grid), dtype=torch.float32, device=grad.device)
        _fire_backward[grid](
            *(grad, fired, _or(v, grad), grad_current, sums),
            grad.numel(),
            HAS_V=v is not None,
            BLOCK=BLOCK,
        )
        total, with_v = sums.sum(1).unbind()
        return grad_current, None, with_v if v is not None else None, -total, *[None] * 4


def _grid(x: Tensor) -> tuple[int]:
    return (-(-x.numel() // BLOCK),)


def _or(x: Tensor | None, instead: Tensor) -> Tensor:
    """A kernel's argument where there is none: it is not touched then."""
    return instead if x is None else x


def _like(x: Tensor, model: Tensor) -> Tensor:
    """``x`` in the order in memory of ``model``."""
    if x.stride() == model.stride():
        return x
    return torch.empty_like(model, dtype=x.dtype).copy_(x)


def _is_dense(x: Tensor) -> bool:
    return x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))


if triton is not None:
    # 1.5 * 2^23: added to a float of 0..2^22 it leaves no bits behind the point, rounding half to even.
    ROUND = tl.constexpr(12582912.0)
    NAN = tl.constexpr(tl.PropagateNan.ALL)

    @triton.jit
    def _fire_forward(
        current, v, leak, theta, lsb, spikes, v_new, fired, elements,
        TOP: tl.constexpr, HAS_V: tl.constexpr, MEMBRANE: tl.constexpr, DIFFERENTIATED: tl.constexpr,
        BLOCK: tl.constexpr,
    ):  # fmt: skip
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = at < elements
        threshold = tl.load(theta).to(tl.float32)
        m = tl.load(current + at, mask=inside, other=0.0).to(tl.float32)
        if HAS_V:
            m += tl.load(leak).to(tl.float32) * tl.load(v + at, mask=inside, other=0.0).to(tl.float32)
        s = tl.maximum(m - threshold, 0.0, propagate_nan=NAN)
        if TOP > 0:
            step = tl.load(lsb).to(tl.float32)
            s = (tl.minimum(s * (1.0 / step), TOP, propagate_nan=NAN) + ROUND - ROUND) * step
        tl.store(spikes + at, s, mask=inside)
        if MEMBRANE:
            tl.store(v_new + at, tl.minimum(m, threshold, propagate_nan=NAN), mask=inside)
        if DIFFERENTIATED:
            tl.store(fired + at, m > threshold, mask=inside)

    @triton.jit
    def _fire_backward(
        grad, fired, v, grad_current, sums, elements, HAS_V: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        block = tl.program_id(0)
        at = block * BLOCK + tl.arange(0, BLOCK)
        inside = at < elements
        g = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
        g = tl.where(tl.load(fired + at, mask=inside, other=0) != 0, g, 0.0)
        tl.store(grad_current + at, g, mask=inside)
        tl.store(sums + block, tl.sum(g))
        if HAS_V:
            product = g * tl.load(v + at, mask=inside, other=0.0).to(tl.float32)
            tl.store(sums + tl.num_programs(0) + block, tl.sum(product))
