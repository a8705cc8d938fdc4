"""Training arithmetic of a CPU in as few passes over memory as it needs: BatchNorm, neurons, low-bit convolutions.

What these functions compute is what `neurons`, `distributed` and `synapses` say with PyTorch's operators, and the tests
hold both against each other. They are taken where they apply (`fits`): 32-bit floats on a CPU, images in the
channels-last layout. A training step on a CPU otherwise spends half of its time in a dozen passes over each layer's
activations.

A spike is an integer message times an LSB. `attach_messages` lets a tensor of spikes carry these integers (8 bit), and
`convolve` multiplies them with the integer weights in the processor's 8-bit dot products: exact, and about four times
as fast as 32-bit floats. Gradients are computed in 32-bit floats as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

__all__ = ["attach_messages", "batch_norm", "convolve", "fire", "fire_binary", "fits", "messages_of", "pack"]

# Elements of a neuron layer, or rows (pixels) of a BatchNorm, that a thread takes at a time.
ELEMENTS = 1 << 13
ROWS = 256
# Below this size a call into a compiled function costs more than it saves.
SMALLEST = 1 << 12
# Sums may be taken in any order; NaN must stay NaN.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "nsz"}, "error_model": "numpy"}


def fits(x: Tensor) -> bool:
    """Whether ``x`` (N, C, H, W) is what the functions of this module take."""
    return (
        x.dim() == 4
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() >= SMALLEST
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
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
    """One step of HybridFiring (``membrane``) or ParallelFiring, detached from the step before: (spikes, new v)::

        m = leak v + current;  spikes = quantised ReLU(m - theta);  v = min(m, theta)

    ``current`` and ``v`` (None: zero) are (N, C, H, W) that `fits`; leak and theta scalars. Gradients flow to current,
    leak and theta: 1 above the threshold, 0 below, straight through the quantiser.
    """
    spikes, messages, v_new = _Fire.apply(current, v, leak, theta, lsb, bits, membrane)
    if messages is not None:
        attach_messages(spikes, messages, lsb)
    return spikes, v_new


def fire_binary(current: Tensor, v: Tensor | None, leak: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """One step of LeakyIntegrateAndFire, detached from the step before: (spikes, new v)::

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
        spikes = torch.empty_like(current)
        messages = None if bits is None else torch.empty_like(current, dtype=torch.uint8)
        v_new = torch.empty_like(current) if membrane else None
        fired = torch.empty_like(current, dtype=torch.uint8)
        _use_threads()
        strange = _fire(
            _flat(current),
            _flat(current if v is None else v),
            v is not None,
            np.float32(leak.item()),
            np.float32(theta.item()),
            np.float32(lsb),
            np.float32(1 / lsb),
            np.float32(0 if bits is None else 2**bits - 1),
            _flat(spikes),
            _flat(fired if messages is None else messages),
            _flat(spikes if v_new is None else v_new),
            membrane,
            _flat(fired),
        )
        ctx.save_for_backward(fired, v)
        not_differentiable = [tensor for tensor in (messages, v_new) if tensor is not None]
        ctx.mark_non_differentiable(*not_differentiable)
        # a message cannot be NaN: a layer that is not finite passes on its spikes alone
        return spikes, None if strange else messages, v_new

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: object) -> tuple[Tensor | None, ...]:
        fired, v = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_current = torch.empty_like(grad)
        _use_threads()
        total, with_v = _fire_backward(
            _flat(grad), _flat(fired), _flat(grad if v is None else v), v is not None, _flat(grad_current)
        )
        return grad_current, None, torch.tensor(with_v), torch.tensor(-total), None, None, None


class _FireBinary(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, v: Tensor | None, leak: Tensor, theta: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        spikes, v_new = torch.empty_like(current), torch.empty_like(current)
        messages = torch.empty_like(current, dtype=torch.uint8)
        threshold = np.float32(theta.item())
        _use_threads()
        strange = _fire_binary(
            _flat(current),
            _flat(current if v is None else v),
            v is not None,
            np.float32(leak.item()),
            threshold,
            _flat(spikes),
            _flat(messages),
            _flat(v_new),
        )
        ctx.save_for_backward(spikes, v_new, v)
        ctx.theta = threshold
        ctx.mark_non_differentiable(messages, v_new)
        return spikes, None if strange else messages, v_new

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: object) -> tuple[Tensor | None, ...]:
        spikes, v_new, v = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_current = torch.empty_like(grad)
        _use_threads()
        total, with_v = _fire_binary_backward(
            _flat(grad),
            _flat(spikes),
            _flat(v_new),
            ctx.theta,
            _flat(grad if v is None else v),
            v is not None,
            _flat(grad_current),
        )
        return grad_current, None, torch.tensor(with_v), torch.tensor(-total)


# ----------------------------------------------------------------------------- BatchNorm


def batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, joint: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """BatchNorm in training: (normalised x, mean (C,), biased variance (C,), number of values per channel).

    ``x`` is (N, C, H, W) that `fits`. With ``joint`` the statistics are those of all processes' inputs; the gradients
    of weight and bias are this process's share of the sum.
    """
    return _BatchNorm.apply(x, weight, bias, eps, joint)


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, joint: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        channels = x.shape[1]
        _use_threads()
        sums = np.empty(2 * channels + 1)
        sums[-1] = x.numel() // channels
        _moments(_rows(x), sums[:channels], sums[channels:-1])
        if joint:
            distributed.all_reduce(torch.from_numpy(sums))
        count = sums[-1]
        mean = sums[:channels] / count
        variance = np.maximum(sums[channels:-1] / count - mean**2, 0)
        inverse = 1 / np.sqrt(variance + eps)
        gain = weight.detach().numpy() * inverse
        offset = bias.detach().numpy() - gain * mean
        y = torch.empty_like(x)
        _affine(_rows(x), gain.astype(np.float32), offset.astype(np.float32), _rows(y))
        ctx.save_for_backward(x, weight)
        ctx.statistics = mean, inverse, count, joint
        statistics = torch.from_numpy(mean).float(), torch.from_numpy(variance).float(), torch.tensor(count)
        ctx.mark_non_differentiable(*statistics)
        return y, *statistics

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: object) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        mean, inverse, count, joint = ctx.statistics
        channels = x.shape[1]
        grad = grad.contiguous(memory_format=torch.channels_last)
        _use_threads()
        sums = np.empty(2 * channels)
        _products(_rows(grad), _rows(x), mean.astype(np.float32), sums[:channels], sums[channels:])
        sums[channels:] *= inverse
        own = torch.from_numpy(sums.astype(np.float32))
        if joint:
            distributed.all_reduce(torch.from_numpy(sums))
        # dL/dx = gain (g - mean(g) - x^ mean(g x^)) with x^ = (x - mean) inverse
        gain = weight.detach().numpy() * inverse
        slope = -gain * inverse * sums[channels:] / count
        offset = -gain * sums[:channels] / count - slope * mean
        grad_x = torch.empty_like(x)
        of_grad, of_x, constant = (values.astype(np.float32) for values in (gain, slope, offset))
        _affine_of_two(_rows(grad), _rows(x), of_grad, of_x, constant, _rows(grad_x))
        return grad_x, own[channels:], own[:channels], None, None


# -------------------------------------------------------------------------- convolutions


def pack(integer: Tensor, stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...]) -> Tensor:
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
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """conv2d(x, weight) for spikes ``x`` that carry messages and ``weight = scale * integer``, in integers.

    ``packed`` is `pack` of the integers, ``scale`` float32 (C_out,). Returns (N, C_out, H', W'); gradients flow to x
    and weight.
    """
    return _Convolution.apply(x, weight, packed, scale, stride, padding, dilation, messages_of(x))


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
        output = 1.0, 0, torch.float32, "none", [], ""
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


# ------------------------------------------------------------------------------- kernels


def _flat(x: Tensor) -> NDArray[Any]:
    """All elements of a dense tensor in the order of memory; no copy."""
    return x.detach().as_strided((x.numel(),), (1,)).numpy()


def _rows(x: Tensor) -> NDArray[Any]:
    """(N, C, H, W) in the channels-last layout as (N H W, C); no copy."""
    return x.detach().permute(0, 2, 3, 1).reshape(-1, x.shape[1]).numpy()


def _use_threads() -> None:
    """As many threads as PyTorch uses."""
    wanted = torch.get_num_threads()
    numba.set_num_threads(min(wanted, numba.config.NUMBA_NUM_THREADS))
    if torch.get_num_threads() != wanted:  # where both use OpenMP, Numba's start changes its number of threads
        torch.set_num_threads(wanted)


def _kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(function, cache=True, parallel=True, **_OPTIONS)
    except RuntimeError:  # no folder to keep the machine code in
        return numba.njit(function, parallel=True, **_OPTIONS)


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loop over one thread's part, which the compiler turns into vector instructions."""
    return numba.njit(function, **_OPTIONS)


@_kernel
def _fire(current, v, has_v, leak, theta, lsb, per_lsb, top, spikes, messages, v_new, membrane, fired):
    """Returns how many spikes are NaN."""
    strange = 0
    for block in numba.prange((current.size + ELEMENTS - 1) // ELEMENTS):
        part = slice(np.int64(block) * ELEMENTS, (np.int64(block) + 1) * ELEMENTS)
        m = np.empty(current[part].size, np.float32)
        _integrate(current[part], v[part], has_v, leak, m)
        strange += _spikes_of(m, theta, lsb, per_lsb, top, spikes[part], messages[part], fired[part])
        if membrane:
            _reset(m, theta, v_new[part])
    return strange


@_inner
def _integrate(current, v, has_v, leak, m):
    if has_v:
        for i in range(current.size):
            m[i] = leak * v[i] + current[i]
    else:
        m[:] = current


@_inner
def _spikes_of(m, theta, lsb, per_lsb, top, spikes, messages, fired):
    strange = np.int32(0)
    zero = np.float32(0)
    if top > 0:
        for i in range(m.size):
            s = m[i] - theta
            fired[i] = np.uint8(0) if s <= zero else np.uint8(1)
            q = np.rint((zero if s <= zero else s) * per_lsb)
            q = top if q > top else q
            messages[i] = np.uint8(np.int32(q))
            spikes[i] = q * lsb
            strange += np.int32(1) if q != q else np.int32(0)
    else:
        for i in range(m.size):
            s = m[i] - theta
            fired[i] = np.uint8(0) if s <= zero else np.uint8(1)
            spikes[i] = zero if s <= zero else s
    return np.int64(strange)


@_inner
def _reset(m, theta, v):
    for i in range(m.size):
        v[i] = theta if m[i] > theta else m[i]


@_kernel
def _fire_backward(grad, fired, v, has_v, grad_current):
    """(sum of the current's gradient, sum of its products with v)."""
    total = 0.0
    with_v = 0.0
    for block in numba.prange((grad.size + ELEMENTS - 1) // ELEMENTS):
        part = slice(np.int64(block) * ELEMENTS, (np.int64(block) + 1) * ELEMENTS)
        g = grad_current[part]
        _where_fired(grad[part], fired[part], g)
        total += _sum(g)
        if has_v:
            with_v += _dot(g, v[part])
    return np.float32(total), np.float32(with_v)


@_inner
def _where_fired(grad, fired, result):
    for i in range(grad.size):
        result[i] = grad[i] if fired[i] != 0 else np.float32(0)


@_inner
def _sum(x):
    total = np.float32(0)
    for i in range(x.size):
        total += x[i]
    return np.float64(total)


@_inner
def _dot(x, y):
    total = np.float32(0)
    for i in range(x.size):
        total += x[i] * y[i]
    return np.float64(total)


@_kernel
def _fire_binary(current, v, has_v, leak, theta, spikes, messages, v_new):
    """Returns how many membranes are NaN."""
    strange = 0
    for block in numba.prange((current.size + ELEMENTS - 1) // ELEMENTS):
        part = slice(np.int64(block) * ELEMENTS, (np.int64(block) + 1) * ELEMENTS)
        m = v_new[part]
        _integrate(current[part], v[part], has_v, leak, m)
        strange += _spikes_binary(m, theta, spikes[part], messages[part])
    return strange


@_inner
def _spikes_binary(m, theta, spikes, messages):
    """Leaves the membrane after the soft reset in m."""
    strange = np.int32(0)
    for i in range(m.size):
        strange += np.int32(1) if m[i] != m[i] else np.int32(0)
        fires = m[i] >= theta
        spikes[i] = np.float32(1) if fires else np.float32(0)
        messages[i] = np.uint8(1) if fires else np.uint8(0)
        m[i] = m[i] - theta if fires else m[i]
    return np.int64(strange)


@_kernel
def _fire_binary_backward(grad, spikes, v_new, theta, v, has_v, grad_current):
    """(sum of the current's gradient, sum of its products with v)."""
    total = 0.0
    with_v = 0.0
    for block in numba.prange((grad.size + ELEMENTS - 1) // ELEMENTS):
        part = slice(np.int64(block) * ELEMENTS, (np.int64(block) + 1) * ELEMENTS)
        g = grad_current[part]
        _by_triangle(grad[part], spikes[part], v_new[part], theta, g)
        total += _sum(g)
        if has_v:
            with_v += _dot(g, v[part])
    return np.float32(total), np.float32(with_v)


@_inner
def _by_triangle(grad, spikes, v_new, theta, result):
    for i in range(grad.size):
        slope = np.float32(1) - abs(v_new[i] + spikes[i] * theta - theta)
        result[i] = grad[i] * (np.float32(0) if slope <= 0 else slope)


@_kernel
def _moments(x, total, squares):
    """Per channel: sums of x and of its squares; in double precision over every ROWS rows."""
    rows, channels = x.shape
    blocks = (rows + ROWS - 1) // ROWS
    partial = np.empty((blocks, 2, channels), np.float32)
    for block in numba.prange(blocks):
        partial[block] = 0
        first, second = partial[block, 0], partial[block, 1]
        for row in range(np.int64(block) * ROWS, min((np.int64(block) + 1) * ROWS, rows)):
            for c in range(channels):
                first[c] += x[row, c]
                second[c] += x[row, c] * x[row, c]
    total[:] = 0
    squares[:] = 0
    for block in range(blocks):
        for c in range(channels):
            total[c] += partial[block, 0, c]
            squares[c] += partial[block, 1, c]


@_kernel
def _products(grad, x, mean, total, products):
    """Per channel: sums of grad and of grad (x - mean)."""
    rows, channels = x.shape
    blocks = (rows + ROWS - 1) // ROWS
    partial = np.empty((blocks, 2, channels), np.float32)
    for block in numba.prange(blocks):
        partial[block] = 0
        first, second = partial[block, 0], partial[block, 1]
        for row in range(np.int64(block) * ROWS, min((np.int64(block) + 1) * ROWS, rows)):
            for c in range(channels):
                first[c] += grad[row, c]
                second[c] += grad[row, c] * (x[row, c] - mean[c])
    total[:] = 0
    products[:] = 0
    for block in range(blocks):
        for c in range(channels):
            total[c] += partial[block, 0, c]
            products[c] += partial[block, 1, c]


@_kernel
def _affine(x, gain, offset, y):
    rows, channels = x.shape
    for block in numba.prange((rows + ROWS - 1) // ROWS):
        for row in range(np.int64(block) * ROWS, min((np.int64(block) + 1) * ROWS, rows)):
            for c in range(channels):
                y[row, c] = gain[c] * x[row, c] + offset[c]


@_kernel
def _affine_of_two(a, b, of_a, of_b, offset, y):
    rows, channels = a.shape
    for block in numba.prange((rows + ROWS - 1) // ROWS):
        for row in range(np.int64(block) * ROWS, min((np.int64(block) + 1) * ROWS, rows)):
            for c in range(channels):
                y[row, c] = of_a[c] * a[row, c] + of_b[c] * b[row, c] + offset[c]
