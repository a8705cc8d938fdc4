"""The rounding and clamping of the integer contract; every Process model uses these and nothing else rounds."""

from __future__ import annotations

import numpy as np


def rshift(x: np.ndarray, n: int) -> np.ndarray:
    """floor((x + 2**(n-1)) / 2**n), round half up; x itself for n = 0. x: int64."""
    if n == 0:
        return x
    return (x >> n) + ((x >> (n - 1)) & 1)


def toward_zero(x: np.ndarray, n: int) -> np.ndarray:
    """x / 2**n without its fraction. x: int64."""
    return np.sign(x) * (np.abs(x) >> n)


def clamp(x: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    """Limit every element of x to limits = (low, high)."""
    return np.minimum(np.maximum(x, limits[0]), limits[1])
