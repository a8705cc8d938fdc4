"""Training arithmetic of a CPU in as few passes over memory as it needs: BatchNorm, neurons, low-bit convolutions.

What these functions compute is what `neurons`, `distributed` and `synapses` say with PyTorch's operators, and the tests
hold both against each other. They are taken where they apply (`fits`): 32-bit floats or bfloat16 on a CPU, images in
the channels-last layout. A training step on a CPU otherwise spends half of its time in a dozen passes over each layer's
activations.

A spike is an integer message times an LSB. `attach_messages` lets a tensor of spikes carry these integers (8 bit), and
`convolve` multiplies them with the integer weights in the processor's 8-bit dot products: exact, and about four times
as fast as 32-bit floats. Gradients are computed in floats, of 32 bits or, under autocast, in bfloat16: then what a
convolution reads and writes is bfloat16, membranes stay in 32 bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from . import cpu_loops as loops

__all__ = [
    "BatchStatistics",
    "Norm",
    "attach_messages",
    "batch_norm",
    "batch_norm_and_fire",
    "convolve",
    "fire",
    "fire_binary",
    "fire_folded",
    "fire_hierarchical",
    "fits",
    "messages_of",
    "pack",
]


NOTHING = torch.empty(0)
"""In the place of a membrane that is not there."""


def fits(x: Tensor) -> bool:
    """Whether ``x`` (N, C, H, W) is what the functions of this module take."""
    return (
        x.dim() == 4
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.device.type == "cpu"
        and x.is_contiguous(memory_format=torch.channels_last)
    )


# ------------------------------------------------------------------------------ messages


def attach_messages(spikes: Tensor, messages: Tensor, lsb: float) -> None:
    """Let ``spikes`` carry its integers: spikes = messages (uint8, same shape) * lsb.

    They are lost in any operation on the tensor, as they must be.
    """
    spikes.messages = messages, lsb  # type: ignore[attr-defined]


def messages_of(x: Tensor) -> tuple[Tensor, float] | None:
    """The integers that ``x`` carries and its LSB, or None."""
    return getattr(x, "messages", None)


# ------------------------------------------------------------------------------- neurons


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
    result = _Fired(current, bits, membrane=False)
    loops.use_threads()
    strange = 0
    for step, size in enumerate([len(current) // len(theta)] * len(theta)):
        of_step = slice(step * size, (step + 1) * size)
        quantiser = _quantiser(theta[step], lsb, bits)
        x = current[of_step]
        strange += loops.fire(_flat(x), *_membrane(None, theta[step]), *quantiser, *result.arrays(of_step))
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
        result = _Fired(current, bits, membrane)
        loops.use_threads()
        strange = loops.fire(_flat(current), *_membrane(v, leak), *_quantiser(theta, lsb, bits), *result.arrays())
        ctx.save_for_backward(result.fired, v)
        ctx.through_time = _ThroughTime(current, leak, v)
        return result.outputs(ctx, strange)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: object, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        fired, v = ctx.saved_tensors
        through = ctx.through_time
        grad_current = torch.empty_like(fired, dtype=through.dtype)
        loops.use_threads()
        total, with_v = loops.fire_backward(
            *through.given(grad, grad_v, fired), _flat(fired), *through.state(v), _flat(grad_current), *through.before()
        )
        return grad_current, through.before_v, torch.tensor(with_v), torch.tensor(-total), None, None, None


class _ThroughTime:
    """What the backward pass of a neuron takes from the step behind it and leaves to the one before."""

    def __init__(self, current: Tensor, leak: Tensor, v: Tensor | None) -> None:
        self.dtype, self.leak = current.dtype, np.float32(leak.item())
        # in online training v has no gradient: then nothing is written
        self.into_v = v is not None and v.requires_grad
        self.before_v: Tensor | None = None

    def given(self, grad: Tensor | None, grad_v: Tensor | None, like: Tensor) -> tuple[Any, ...]:
        """(gradient of the spikes, of the new v or nothing, whether it is there) for the loops.

        To be called before `before`, whose room it makes.
        """
        if grad is None:
            grad = torch.zeros_like(like, dtype=self.dtype)
        if self.into_v:
            self.before_v = torch.empty_like(like, dtype=torch.float32)
        grads = [_flat(g.contiguous(memory_format=torch.channels_last)) for g in (grad, grad_v) if g is not None]
        return grads[0], grads[-1] if grad_v is not None else _flat(NOTHING), grad_v is not None

    def state(self, v: Tensor | None) -> tuple[Any, ...]:
        return *_membrane(v), self.leak

    def before(self) -> tuple[Any, ...]:
        """(where the gradient of v goes or nothing, whether it goes there) for the loops."""
        return _flat(NOTHING if self.before_v is None else self.before_v), self.before_v is not None


class _Fired:
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
        spikes, messages, v, fired = (_flat(tensor[samples]) for tensor in written)
        return spikes, messages, v, self.v is not None, fired

    def outputs(self, ctx: Any, strange: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        ctx.set_materialize_grads(False)
        if self.messages is not None:
            ctx.mark_non_differentiable(self.messages)
        # a message cannot be NaN: a layer that is not finite passes on its spikes alone
        return self.spikes, None if strange else self.messages, self.v


def _membrane(v: Tensor | None, *leak: Tensor) -> tuple[Any, ...]:
    """(v or nothing, whether it is v, leak if given) for the loops."""
    return _flat(NOTHING if v is None else v), v is not None, *(np.float32(value.item()) for value in leak)


def _quantiser(theta: Tensor, lsb: float, bits: int | None) -> tuple[np.float32, ...]:
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
        results = _flat(spikes), _flat(messages), _flat(v_new)
        strange = loops.fire_binary(_flat(current), *_membrane(v, leak), threshold, *results)
        ctx.save_for_backward(spikes, v_new, v)
        ctx.theta = threshold
        ctx.through_time = _ThroughTime(current, leak, v)
        ctx.mark_non_differentiable(messages)
        ctx.set_materialize_grads(False)
        return spikes, None if strange else messages, v_new

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: object, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        spikes, v_new, v = ctx.saved_tensors
        through = ctx.through_time
        grad_current = torch.empty_like(spikes)
        loops.use_threads()
        saved = _flat(spikes), _flat(v_new), ctx.theta, *through.state(v)
        total, with_v = loops.fire_binary_backward(
            *through.given(grad, grad_v, spikes), *saved, _flat(grad_current), *through.before()
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
        results = [_flat(result) for result in (spikes, messages, d_new, v_new)]
        strange = loops.fire_hierarchical(_flat(current), _flat(d), _flat(v), *numbers, *results)
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
            for part in (_flat(instead if known is None else known), known is not None)
        ]
        saved = [_flat(tensor) for tensor in (spikes, d_new, v_new, d, v)]
        sums = loops.fire_hierarchical_backward(
            *optional, *saved, *ctx.numbers, _flat(grad_current), *(_flat(tensor) for tensor in before), into_state
        )
        of_state = before if into_state else [None, None]
        return grad_current, *of_state, *(torch.tensor(total) for total in sums), None, None


# ----------------------------------------------------------------------------- BatchNorm


# Infinite values give NaN without a warning, as in PyTorch: a run that diverges is stopped by its loss.
quietly = np.errstate(all="ignore")


class Norm(NamedTuple):
    """What a BatchNorm needs besides its input.

    weight, bias: (C,). joint: its statistics are those of all processes' inputs together; the gradients of weight and
    bias then are this process's share. known: mean and variance (C,) to use instead of the input's, for inference:
    no gradient flows then.
    """

    weight: Tensor
    bias: Tensor
    eps: float
    joint: bool = False
    known: tuple[Tensor, Tensor] | None = None


class BatchStatistics(NamedTuple):
    """Of the input of a BatchNorm: mean and biased variance (C,), float32, and the number of values per channel."""

    mean: Tensor
    variance: Tensor
    values: float


def batch_norm(x: Tensor, norm: Norm) -> tuple[Tensor, BatchStatistics]:
    """BatchNorm of ``x`` (N, C, H, W) that `fits`: (normalised x, statistics)."""
    moments = _moments_of(x, norm)
    return _BatchNorm.apply(x, *norm[:2], moments), moments.statistics()


def batch_norm_and_fire(
    x: Tensor, norm: Norm, v: Tensor | None, leak: Tensor, theta: Tensor, lsb: float, bits: int | None, membrane: bool
) -> tuple[Tensor, Tensor | None, BatchStatistics]:
    """`fire` of the current `batch_norm` of x, which is never written to memory: (spikes, new v, statistics)."""
    moments = _moments_of(x, norm)
    spikes, messages, v_new = _BatchNormAndFire.apply(x, *norm[:2], moments, v, leak, theta, lsb, bits, membrane)
    if messages is not None:
        attach_messages(spikes, messages, lsb)
    return spikes, v_new, moments.statistics()


class _Moments(NamedTuple):
    """Per channel, float64: mean, biased variance and 1 / standard deviation; values per channel; see Norm.joint."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    inverse: NDArray[np.float64]
    values: float
    joint: bool

    def statistics(self) -> BatchStatistics:
        mean, variance = (torch.from_numpy(array).float() for array in (self.mean, self.variance))
        return BatchStatistics(mean, variance, self.values)

    @quietly
    def affine(self, weight: Tensor, bias: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(gain, offset): the normalised x is gain x + offset."""
        gain = weight.detach().numpy() * self.inverse
        return gain.astype(np.float32), (bias.detach().numpy() - gain * self.mean).astype(np.float32)

    @quietly
    def backward(self, weight: Tensor, sums: NDArray[np.float64]) -> tuple[list[NDArray[np.float32]], Tensor, Tensor]:
        """From the sums over g and g (x - mean): what makes dL/dx of g, x and 1, and the gradients of weight and bias.

        dL/dx = gain (g - mean(g) - x^ mean(g x^)) with x^ = (x - mean) / standard deviation.
        """
        channels = len(self.mean)
        sums[channels:] *= self.inverse
        own = torch.from_numpy(sums.astype(np.float32))
        if self.joint:
            distributed.all_reduce(torch.from_numpy(sums))
        gain = weight.detach().numpy() * self.inverse
        of_x = -gain * self.inverse * sums[channels:] / self.values
        constant = -gain * sums[:channels] / self.values - of_x * self.mean
        return [values.astype(np.float32) for values in (gain, of_x, constant)], own[channels:], own[:channels]


@quietly
def _moments_of(x: Tensor, norm: Norm) -> _Moments:
    if norm.known is not None:
        mean, variance = (tensor.double().numpy() for tensor in norm.known)
        return _Moments(mean, variance, 1 / np.sqrt(variance + norm.eps), 0.0, False)
    channels = x.shape[1]
    sums = np.empty(2 * channels + 1)
    sums[-1] = x.numel() // channels
    loops.use_threads()
    loops.sum_moments(_flat(x), channels, sums)
    if norm.joint:
        distributed.all_reduce(torch.from_numpy(sums))
    mean = sums[:channels] / sums[-1]
    variance = np.maximum(sums[channels:-1] / sums[-1] - mean**2, 0)
    return _Moments(mean, variance, 1 / np.sqrt(variance + norm.eps), float(sums[-1]), norm.joint)


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, moments: _Moments) -> Tensor:
        y = torch.empty_like(x)
        loops.use_threads()
        loops.affine(_flat(x), *moments.affine(weight, bias), _flat(y))
        ctx.save_for_backward(x, weight)
        ctx.moments = moments
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = torch.empty_like(x)
        sums = np.zeros(2 * len(weight))
        loops.use_threads()
        loops.sum_products(_flat(grad), _flat(x), ctx.moments.mean.astype(np.float32), sums)
        factors, grad_weight, grad_bias = ctx.moments.backward(weight, sums)
        loops.affine_of_two(_flat(grad), _flat(x), *factors, _flat(grad_x))
        return grad_x, grad_weight, grad_bias, None


class _BatchNormAndFire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        moments: _Moments,
        v: Tensor | None,
        leak: Tensor,
        theta: Tensor,
        lsb: float,
        bits: int | None,
        membrane: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        result = _Fired(x, bits, membrane)
        gain, offset = moments.affine(weight, bias)
        loops.use_threads()
        strange = loops.affine_and_fire(
            _flat(x), gain, offset, *_membrane(v, leak), *_quantiser(theta, lsb, bits), *result.arrays()
        )
        ctx.save_for_backward(x, weight, result.fired, v)
        ctx.moments, ctx.through_time = moments, _ThroughTime(x, leak, v)
        return result.outputs(ctx, strange)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: object, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, fired, v = ctx.saved_tensors
        through = ctx.through_time
        grad_x = torch.empty_like(x)
        masked = _flat(grad_x)
        sums = np.zeros(2 * len(weight))
        loops.use_threads()
        total, with_v = loops.fire_backward(
            *through.given(grad, grad_v, fired), _flat(fired), *through.state(v), masked, *through.before()
        )
        loops.sum_products(masked, _flat(x), ctx.moments.mean.astype(np.float32), sums)
        factors, grad_weight, grad_bias = ctx.moments.backward(weight, sums)
        loops.affine_of_two(masked, _flat(x), *factors, masked)
        of_scalars = torch.tensor(with_v), torch.tensor(-total)
        return grad_x, grad_weight, grad_bias, None, through.before_v, *of_scalars, None, None, None


# -------------------------------------------------------------------------- convolutions


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


# ------------------------------------------------------------------------------- arrays


def _flat(x: Tensor) -> NDArray[Any]:
    """All elements of a dense tensor in the order of memory, of bfloat16 the bits; no copy."""
    flat = x.detach().as_strided((x.numel(),), (1,))
    return (flat.view(torch.uint16) if flat.dtype == torch.bfloat16 else flat).numpy()
