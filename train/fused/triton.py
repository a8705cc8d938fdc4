"""The HM-DF and LM-H neurons on a GPU in one pass over memory, in either direction, as Triton kernels.

What these functions compute is what `neurons` says with PyTorch's operators, there about a dozen passes; the tests hold
both against each other. Arithmetic is in 32-bit floats, whatever the type of the current; where the LSB is no power of
two, a spike on the edge between two messages may become the other one. Triton comes with the CUDA builds of PyTorch;
without it, or without the C compiler that it needs, the neurons do with the operators.
"""

import warnings
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

__all__ = ["fire", "fire_hierarchical", "fits"]

BLOCK = 2048
# Elements that a kernel's 32-bit index can tell apart.
MOST = 2**31 - BLOCK


def fits(x: Tensor) -> bool:
    """Whether ``x``, a current, is what the functions here take: floats on a GPU, dense in memory in whatever order."""
    kinds = torch.float32, torch.bfloat16, torch.float16
    return x.is_cuda and x.dtype in kinds and x.numel() < MOST and _is_dense(x) and kernels() is not None


@cache
def kernels() -> ModuleType | None:
    """The kernels, or None where Triton is missing or cannot build them; loaded where they are wanted."""
    try:
        from . import triton_loops
    except ImportError:
        return None
    try:
        one = torch.ones(1, device="cuda" if torch.cuda.is_available() else "cpu")
        flags = dict.fromkeys(("HAS_V", "MEMBRANE", "DIFFERENTIATED"), False)
        triton_loops.fire[(1,)](*[one] * 8, 1, TOP=0, BLOCK=BLOCK, **flags)
    except RuntimeError as error:  # Triton's where there is no C compiler
        warnings.warn(f"neurons run on PyTorch's operators, which are slower: Triton: {error}", stacklevel=2)
        return None
    return triton_loops


def fire(
    current: Tensor,
    v: Tensor | None,
    leak: Tensor,
    theta: Tensor,
    lsb: Tensor,
    bits: int | None,
    membrane: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """One step of HybridFiring (``membrane``) or ParallelFiring, detached from the step before: (spikes, new v):

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
        with torch.cuda.device_of(current):  # where Triton launches
            _loaded().fire[_grid(current)](
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
        with torch.cuda.device_of(grad):
            _loaded().fire_backward[grid](
                *(grad, fired, _or(v, grad), grad_current, sums),
                grad.numel(),
                HAS_V=v is not None,
                BLOCK=BLOCK,
            )
        total, with_v = sums.sum(1).unbind()
        return grad_current, None, with_v if v is not None else None, -total, *[None] * 4


def fire_hierarchical(
    current: Tensor,
    d: Tensor,
    v: Tensor,
    mu_d: Tensor,
    mu_s: Tensor,
    lambda_s: Tensor,
    lambda_d: Tensor,
    theta: Tensor,
    width: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of MultiHierarchical, (spikes, new d, new v), as `cpu.fire_hierarchical` says it."""
    return _FireHierarchical.apply(current, d, v, mu_d, mu_s, lambda_s, lambda_d, theta, width)


class _FireHierarchical(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, d: Tensor, v: Tensor, *scalars: Any) -> tuple[Tensor, Tensor, Tensor]:
        *factors, theta, width = scalars
        d, v = _like(d, current), _like(v, current)
        spikes, d_new, v_new = (torch.empty_like(current) for _ in range(3))
        with torch.cuda.device_of(current):
            _loaded().fire_hierarchical[_grid(current)](
                *(current, d, v, *factors, theta, spikes, d_new, v_new), current.numel(), BLOCK=BLOCK
            )
        ctx.save_for_backward(spikes, d_new, v_new, d, v, *factors, theta)
        ctx.width = width
        ctx.set_materialize_grads(False)
        return spikes, d_new, v_new

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        spikes, d_new, v_new, d, v, *scalars = ctx.saved_tensors
        grads = [None if grad is None else _like(grad, spikes) for grad in given]
        grad_current = torch.empty_like(spikes)
        # in online training the state before has no gradient: then nothing is written
        into_state = bool(ctx.needs_input_grad[1] or ctx.needs_input_grad[2])
        before = [torch.empty_like(spikes) if into_state else grad_current for _ in range(2)]
        grid = _grid(spikes)
        sums = torch.empty((4, *grid), dtype=torch.float32, device=spikes.device)
        with torch.cuda.device_of(spikes):
            _loaded().fire_hierarchical_backward[grid](
                *(_or(grad, spikes) for grad in grads),
                *(spikes, d_new, v_new, d, v, *scalars, grad_current, *before, sums),
                spikes.numel(),
                WIDTH=ctx.width,
                HAS_GRAD=grads[0] is not None,
                HAS_GRAD_D=grads[1] is not None,
                HAS_GRAD_V=grads[2] is not None,
                INTO_STATE=into_state,
                BLOCK=BLOCK,
            )
        of_state = before if into_state else [None, None]
        return grad_current, *of_state, *sums.sum(1).unbind(), None, None


def _loaded() -> ModuleType:
    found = kernels()
    assert found is not None
    return found


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
