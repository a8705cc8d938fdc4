"""Weights in fewer bits, to say what that would cost: nothing here changes a program."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def narrowed(weight: NDArray[np.int8], bits: int) -> NDArray[np.float64]:
    """The nearest weights that `bits` bits hold, with one scale per output channel (first axis).

    1 bit: mean |w| times the sign. 2 bits: ternary with the threshold 0.7 mean |w|, the scale the mean of what exceeds
    it. Wider: uniform, the largest weight at the end of the range.
    """
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    size = np.abs(rows)
    mean = size.mean(axis=1, keepdims=True)
    if bits == 1:
        near = mean * np.where(rows < 0, -1, 1)
    elif bits == 2:
        kept = size > 0.7 * mean
        scale = (size * kept).sum(axis=1, keepdims=True) / np.maximum(kept.sum(axis=1, keepdims=True), 1)
        near = scale * np.sign(rows) * kept
    else:
        step = size.max(axis=1, keepdims=True) / ((1 << (bits - 1)) - 1)
        near = np.rint(rows / np.where(step > 0, step, 1)) * step
    return near.reshape(weight.shape)


def signal_to_noise(weight: NDArray[np.int8], near: NDArray[np.float64]) -> float:
    """Power of the weights over that of their error, in dB; infinite without an error."""
    noise = float(np.square(weight - near).sum())
    signal = float(np.square(weight.astype(np.float64)).sum())
    return float("inf") if noise == 0 else 10 * np.log10(max(signal, 1e-300) / noise)
