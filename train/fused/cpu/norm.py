"""BatchNorm, alone and with the neurons behind it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from . import loops
from .neurons import FireResults, ThroughTime, membrane_of, quantiser_of
from .tensors import attach_messages, flat

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
    loops.sum_moments(flat(x), channels, sums)
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
        loops.affine(flat(x), *moments.affine(weight, bias), flat(y))
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
        loops.sum_products(flat(grad), flat(x), ctx.moments.mean.astype(np.float32), sums)
        factors, grad_weight, grad_bias = ctx.moments.backward(weight, sums)
        loops.affine_of_two(flat(grad), flat(x), *factors, flat(grad_x))
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
        result = FireResults(x, bits, membrane)
        gain, offset = moments.affine(weight, bias)
        loops.use_threads()
        strange = loops.affine_and_fire(
            flat(x), gain, offset, *membrane_of(v, leak), *quantiser_of(theta, lsb, bits), *result.arrays()
        )
        ctx.save_for_backward(x, weight, result.fired, v)
        ctx.moments, ctx.through_time = moments, ThroughTime(x, leak, v)
        return result.outputs(ctx, strange)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: object, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, fired, v = ctx.saved_tensors
        through = ctx.through_time
        grad_x = torch.empty_like(x)
        masked = flat(grad_x)
        sums = np.zeros(2 * len(weight))
        loops.use_threads()
        total, with_v = loops.fire_backward(
            *through.given(grad, grad_v, fired), flat(fired), *through.state(v), masked, *through.before(fired)
        )
        loops.sum_products(masked, flat(x), ctx.moments.mean.astype(np.float32), sums)
        factors, grad_weight, grad_bias = ctx.moments.backward(weight, sums)
        loops.affine_of_two(masked, flat(x), *factors, masked)
        of_scalars = torch.tensor(with_v), torch.tensor(-total)
        return grad_x, grad_weight, grad_bias, None, through.before_v, *of_scalars, None, None, None
