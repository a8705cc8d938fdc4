"""Neurons: membrane, threshold, quantiser and reset in one pass over memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import loops
from .tensors import NOTHING, attach_messages, flat


def fire(
    current: Tensor,
    v: Tensor | None,
    leak: Tensor,
    theta: Tensor,
    lsb: float,
    bits: int | None,
    membrane: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """One step of HybridFiring (``membrane``) or ParallelFiring: (spikes, new v):

        m = leak v + current;  spikes = quantised ReLU(m - theta);  v = min(m, theta)

    ``current`` and ``v`` (None: zero) are (N, C, H, W) that `fits`; leak and theta scalars. Gradients flow to current,
    v, leak and theta, through the new v too where it is used: of a spike 1 above the threshold, 0 below, straight
    through the quantiser.
    """
    spikes, messages, v_new = _Fire.apply(current, v, leak, theta, lsb, bits, membrane)
    if messages is not None:
        attach_messages(spikes, messages, lsb)
    return spikes, v_new


def fire_folded(current: Tensor, theta: Tensor, lsb: float, bits: int | None) -> Tensor:
    """All steps of ParallelFiring at once, for inference: ``current`` (T N, C, H, W) that `fits`, theta (T,)."""
    result = FireResults(current, bits, membrane=False)
    loops.use_threads()
    strange = 0
    for step, size in enumerate([len(current) // len(theta)] * len(theta)):
        of_step = slice(step * size, (step + 1) * size)
        quantiser = quantiser_of(theta[step], lsb, bits)
        x = current[of_step]
        strange += loops.fire(flat(x), *membrane_of(None, theta[step]), *quantiser, *result.arrays(of_step))
    if result.messages is not None and not strange:
        attach_messages(result.spikes, result.messages, lsb)
    return result.spikes


def fire_binary(current: Tensor, v: Tensor | None, leak: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """One step of LeakyIntegrateAndFire: (spikes, new v):

        m = leak v + current;  spikes = 1 if m >= theta else 0;  v = m - spikes theta

    Gradients as in `fire`, with the triangle max(0, 1 - |m - theta|) for the slope of a spike.
    """
    spikes, messages, v_new = _FireBinary.apply(current, v, leak, theta)
    if messages is not None:
        attach_messages(spikes, messages, 1.0)
    return spikes, v_new


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        v: Tensor | None,
        leak: Tensor,
        theta: Tensor,
        lsb: float,
        bits: int | None,
        membrane: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        result = FireResults(current, bits, membrane)
        loops.use_threads()
        strange = loops.fire(flat(current), *membrane_of(v, leak), *quantiser_of(theta, lsb, bits), *result.arrays())
        ctx.save_for_backward(result.fired, v)
        ctx.through_time = ThroughTime(current, leak, v)
        return result.outputs(ctx, strange)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: object, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        fired, v = ctx.saved_tensors
        through = ctx.through_time
        grad_current = torch.empty_like(fired, dtype=through.dtype)
        loops.use_threads()
        total, with_v = loops.fire_backward(
            *through.given(grad, grad_v, fired),
            flat(fired),
            *through.state(v),
            flat(grad_current),
            *through.before(fired),
        )
        return grad_current, through.before_v, torch.tensor(with_v), torch.tensor(-total), None, None, None


class ThroughTime:
    """What the backward pass of a neuron takes from the step behind it and leaves to the one before."""

    def __init__(self, current: Tensor, leak: Tensor, v: Tensor | None) -> None:
        self.dtype, self.leak = current.dtype, np.float32(leak.item())
        # in online training v has no gradient: then nothing is written
        self.into_v = v is not None and v.requires_grad
        self.before_v: Tensor | None = None

    def given(self, grad: Tensor | None, grad_v: Tensor | None, like: Tensor) -> tuple[Any, ...]:
        """(gradient of the spikes, of the new v or nothing, whether it is there) for the loops."""
        if grad is None:
            grad = torch.zeros_like(like, dtype=self.dtype)
        grads = [flat(g.contiguous(memory_format=torch.channels_last)) for g in (grad, grad_v) if g is not None]
        return grads[0], grads[-1] if grad_v is not None else flat(NOTHING), grad_v is not None

    def state(self, v: Tensor | None) -> tuple[Any, ...]:
        return *membrane_of(v), self.leak

    def before(self, like: Tensor) -> tuple[Any, ...]:
        """(where the gradient of v, `before_v`, goes or nothing, whether it goes there) for the loops."""
        if self.into_v:
            self.before_v = torch.empty_like(like, dtype=torch.float32)
        return flat(NOTHING if self.before_v is None else self.before_v), self.before_v is not None


class FireResults:
    """What `fire` writes, as tensors like the current: spikes, messages, new v, and where the neurons fired."""

    def __init__(self, current: Tensor, bits: int | None, membrane: bool) -> None:
        self.spikes = torch.empty_like(current)
        self.messages = None if bits is None else torch.empty_like(current, dtype=torch.uint8)
        self.v = torch.empty_like(current, dtype=torch.float32) if membrane else None
        self.fired = torch.empty_like(current, dtype=torch.uint8)

    def arrays(self, samples: slice = slice(None)) -> tuple[Any, ...]:
        """Of some samples, in the order of the kernels; what is not wanted is replaced by what is there anyway."""
        written = [
            self.spikes,
            self.fired if self.messages is None else self.messages,
            NOTHING if self.v is None else self.v,
            self.fired,
        ]
        spikes, messages, v, fired = (flat(tensor[samples]) for tensor in written)
        return spikes, messages, v, self.v is not None, fired

    def outputs(self, ctx: Any, strange: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        ctx.set_materialize_grads(False)
        if self.messages is not None:
            ctx.mark_non_differentiable(self.messages)
        # a message cannot be NaN: a layer that is not finite passes on its spikes alone
        return self.spikes, None if strange else self.messages, self.v


def membrane_of(v: Tensor | None, *leak: Tensor) -> tuple[Any, ...]:
    """(v or nothing, whether it is v, leak if given) for the loops."""
    return flat(NOTHING if v is None else v), v is not None, *(np.float32(value.item()) for value in leak)


def quantiser_of(theta: Tensor, lsb: float, bits: int | None) -> tuple[np.float32, ...]:
    """(theta, LSB, 1 / LSB, largest message or 0 for spikes without one) for the loops."""
    top = 0 if bits is None else 2**bits - 1
    return np.float32(theta.item()), np.float32(lsb), np.float32(1 / lsb), np.float32(top)


class _FireBinary(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, v: Tensor | None, leak: Tensor, theta: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        spikes, v_new = torch.empty_like(current), torch.empty_like(current, dtype=torch.float32)
        messages = torch.empty_like(current, dtype=torch.uint8)
        threshold = np.float32(theta.item())
        loops.use_threads()
        results = flat(spikes), flat(messages), flat(v_new)
        strange = loops.fire_binary(flat(current), *membrane_of(v, leak), threshold, *results)
        ctx.save_for_backward(spikes, v_new, v)
        ctx.theta = threshold
        ctx.through_time = ThroughTime(current, leak, v)
        ctx.mark_non_differentiable(messages)
        ctx.set_materialize_grads(False)
        return spikes, None if strange else messages, v_new

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: object, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        spikes, v_new, v = ctx.saved_tensors
        through = ctx.through_time
        grad_current = torch.empty_like(spikes)
        loops.use_threads()
        saved = flat(spikes), flat(v_new), ctx.theta, *through.state(v)
        total, with_v = loops.fire_binary_backward(
            *through.given(grad, grad_v, spikes), *saved, flat(grad_current), *through.before(spikes)
        )
        return grad_current, through.before_v, torch.tensor(with_v), torch.tensor(-total)


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
    """One step of MultiHierarchical: (spikes, new d, new v):

        d' = mu_d d + mu_s v + current;  m = lambda_s v + lambda_d d'
        spikes = theta if m >= theta else 0;  v' = m - spikes

    Gradients flow to the current, to d and v, and to the four factors: through d' and v' too, where they are used, with
    dv'/dm = 1 and the triangle theta max(0, width - |m - theta|) / width^2 for the slope of a spike.
    """
    state = d.float(), v.float()
    spikes, messages, *state = _FireHierarchical.apply(current, *state, mu_d, mu_s, lambda_s, lambda_d, theta, width)
    if messages is not None:
        attach_messages(spikes, messages, theta.item())
    return spikes, *state


class _FireHierarchical(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, d: Tensor, v: Tensor, *scalars: Any
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        *factors, theta, width = scalars
        spikes = torch.empty_like(current)
        d_new, v_new = (torch.empty_like(current, dtype=torch.float32) for _ in range(2))
        messages = torch.empty_like(current, dtype=torch.uint8)
        numbers = [np.float32(factor.item()) for factor in (*factors, theta)]
        loops.use_threads()
        results = [flat(result) for result in (spikes, messages, d_new, v_new)]
        strange = loops.fire_hierarchical(flat(current), flat(d), flat(v), *numbers, *results)
        ctx.save_for_backward(spikes, d_new, v_new, d, v)
        ctx.numbers = *numbers, np.float32(width)
        ctx.mark_non_differentiable(messages)
        ctx.set_materialize_grads(False)
        return spikes, None if strange else messages, d_new, v_new

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, _: object, grad_d: Tensor | None, grad_v: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        spikes, d_new, v_new, d, v = ctx.saved_tensors
        given = [
            None if known is None else known.contiguous(memory_format=torch.channels_last)
            for known in (grad, grad_d, grad_v)
        ]
        grad_current = torch.empty_like(spikes)
        # in online training the state before has no gradient: then nothing is written
        into_state = bool(ctx.needs_input_grad[1] or ctx.needs_input_grad[2])
        before = [torch.empty_like(d) if into_state else NOTHING for _ in range(2)]
        loops.use_threads()
        nothing = spikes, NOTHING, NOTHING
        optional = [
            part
            for known, instead in zip(given, nothing, strict=True)
            for part in (flat(instead if known is None else known), known is not None)
        ]
        saved = [flat(tensor) for tensor in (spikes, d_new, v_new, d, v)]
        sums = loops.fire_hierarchical_backward(
            *optional, *saved, *ctx.numbers, flat(grad_current), *(flat(tensor) for tensor in before), into_state
        )
        of_state = before if into_state else [None, None]
        return grad_current, *of_state, *(torch.tensor(total) for total in sums), None, None
