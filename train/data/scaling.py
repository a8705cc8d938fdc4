"""A part of an image scaled to a square: bilinear, over as many pixels as one of the result covers, as Pillow does it.

Weights are multiples of 1/256, so that sums stay within 16 bits: no value is off by more than 3 of 255.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Four values of 16 bits in one integer: a half of what 8 fraction bits hold, for each.
_HALVES = np.uint64(0x0080_0080_0080_0080)


def _kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(function, cache=True, **_OPTIONS)
    except RuntimeError:  # no folder to keep the machine code in
        return numba.njit(function, **_OPTIONS)


@_kernel
def scale(rows, left, width, mirrored, part):
    """Fill ``part`` (3, size, size) from ``rows`` (height, 4 x a row's pixels), of which ``width`` pixels from ``left``
    on count; uint8, and the fourth value of a pixel does not matter.
    """
    size = part.shape[1]
    top, down = _windows(rows.shape[0], size)
    start, narrow = _windows(width, size)
    across = narrow.astype(np.uint64)
    line = np.zeros(4 * (width + across.shape[1]), np.uint16)
    pixels = line.view(np.uint64)
    first, step = (size - 1, -1) if mirrored else (0, 1)
    for y in range(size):
        _blend(rows, top[y], 4 * left, down[y], line[: 4 * width])
        red, green, blue = part[0, y], part[1, y], part[2, y]
        for x in range(size):
            at, to = start[x], first + step * x
            total = _HALVES + pixels[at] * across[x, 0] + pixels[at + 1] * across[x, 1]
            total += pixels[at + 2] * across[x, 2] + pixels[at + 3] * across[x, 3]
            for k in range(4, across.shape[1]):
                total += pixels[at + k] * across[x, k]
            red[to] = np.uint8(total >> np.uint64(8))
            green[to] = np.uint8(total >> np.uint64(24))
            blue[to] = np.uint8(total >> np.uint64(40))


@_kernel
def _blend(rows, top, left, weights, line):
    """A weighted mean of rows from ``top`` on, in ``line``; a weight is 0 where there is no row."""
    end, last = left + line.size, rows.shape[0] - 1
    line[:] = 128
    for k in range(weights.size):
        row, one = rows[min(top + k, last), left:end], weights[k]
        for j in range(line.size):
            line[j] += np.uint16(row[j]) * one
    for j in range(line.size):
        line[j] >>= np.uint16(8)


@_kernel
def _windows(length, size):
    """For each of ``size`` pixels the first of ``length`` that it covers, and weights (size, 4 or more) of sum 256."""
    step = length / size
    reach = max(step, 1.0)
    most = max(4, int(np.ceil(2 * reach)))
    first, weights = np.empty(size, np.int64), np.zeros((size, most), np.uint16)
    shares = np.empty(most)
    for x in range(size):
        centre = (x + 0.5) * step
        first[x] = max(0, int(centre - reach + 0.5))
        for k in range(most):
            shares[k] = max(0.0, 1 - abs((first[x] + k + 0.5 - centre) / reach)) if first[x] + k < length else 0.0
        total, before, so_far = shares.sum(), 0, 0.0
        for k in range(most):
            so_far += shares[k]
            now = int(256 * so_far / total + 0.5)
            weights[x, k], before = now - before, now
    return first, weights
