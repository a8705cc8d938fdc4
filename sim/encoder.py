"""From real-valued samples to the integers that enter a Program. The last floating point before the read-out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .executor import check_messages
from .program import Preprocessing, Program


def normalise(raw: np.ndarray, preprocessing: Preprocessing) -> NDArray[np.float64]:
    """(raw / divisor - mean[c]) / std[c] in float64.

    Args:
        raw: (N, C, H, W), (N, T, C, H, W), or without positions (N, F), (N, T, F).

    Raises:
        InputError: the number of channels is not the one of `preprocessing`.
    """
    axis = raw.ndim - 3 if raw.ndim >= 4 else raw.ndim - 1
    channels = len(preprocessing.mean)
    if channels != 1 and raw.shape[axis] != channels:
        raise InputError(f"preprocessing is for {channels} channels, got samples of shape {raw.shape[1:]}")
    per_channel = (-1, *(1,) * (raw.ndim - 1 - axis))
    mean = np.asarray(preprocessing.mean, dtype=np.float64).reshape(per_channel)
    std = np.asarray(preprocessing.std, dtype=np.float64).reshape(per_channel)
    return (raw.astype(np.float64) / preprocessing.divisor - mean) / std


def encode(program: Program, x: np.ndarray) -> NDArray[np.int32]:
    """q = clamp(round_half_even(x / scale), message range).

    Args:
        x: normalised samples, floating point (N, *shape) or (N, T, *shape); integers are taken as messages already.

    Returns:
        Messages (N, 1, *shape) for a constant input, (N, T, *shape) for frames.

    Raises:
        InputError: the shape does not fit, a value is not a number, or an integer is outside the message range.
    """
    x = _with_steps(program, np.asarray(x))
    if x.dtype.kind in "iu":
        check_messages(program, x)
        return x.astype(np.int32)
    if x.dtype.kind != "f":
        raise InputError(f"samples must be numbers, got {x.dtype}")
    if not np.isfinite(x).all():
        _report_not_finite(program, x)
    low, high = program.input.message.range
    return np.clip(np.rint(x.astype(np.float64) / program.input.message.scale), low, high).astype(np.int32)


def clipped_share(program: Program, x: np.ndarray) -> float:
    """Share of the values of `x` (normalised) that lie beyond the input's message range, where `encode` limits them."""
    return clipped_values(program, x) / x.size if x.size else 0.0


def clipped_values(program: Program, x: np.ndarray) -> int:
    """How many of the values of `x` (normalised) these are."""
    low, high = program.input.message.range
    units = np.asarray(x) / program.input.message.scale
    return int(np.count_nonzero((units < low - 0.5) | (units > high + 0.5)))


def _with_steps(program: Program, x: np.ndarray) -> np.ndarray:
    """x with its step axis; a constant input may leave it out."""
    shape, steps = program.input.shape, program.input_steps
    if x.shape[1:] == (steps, *shape):
        return x
    if program.input.timing == "constant" and x.ndim >= 1 and x.shape[1:] == shape:
        return x[:, None]
    wanted = f"(N, {', '.join(map(str, shape))})"
    if program.input.timing == "frames":
        wanted = f"(N, {steps}, {', '.join(map(str, shape))}), one array per time-step"
    raise InputError(f"the program takes samples of shape {wanted}; got {x.shape}")


def _report_not_finite(program: Program, x: np.ndarray) -> None:
    sample, step, channel, *position = (int(i) for i in np.argwhere(~np.isfinite(x))[0])
    at = "" if program.input.timing == "constant" else f", step {step}"
    where = f", position {tuple(position)}" if position else ""
    value = x[(sample, step, channel, *position)]
    raise InputError(f"sample {sample}{at}, channel {channel}{where}: the value is {value}; clean the data first")


def blocks(x: np.ndarray, size: int) -> list[np.ndarray]:
    """Views of at most `size` samples each, in order."""
    edges = [*range(0, len(x), size), len(x)]
    return [x[a:b] for a, b in pairwise(edges)]
