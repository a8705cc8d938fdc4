"""The rounding and clamping that every executor shares: the whole of the contract's arithmetic is here.

Equations: docs/numerics.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def rshift(x: Integers, n: int) -> Integers:
    """Divide by 2^n, round half up: floor((x + 2^(n-1)) / 2^n); x itself for n = 0.

    The sum x + 2^(n-1) is never formed, so no int64 overflows: the rounded quotient is the
    arithmetic shift plus the last bit shifted out.

    Args:
        x: int64, any shape.
        n: shift, 0..62.
    """
    if n == 0:
        return x
    return (x >> n) + ((x >> (n - 1)) & 1)


def toward_zero(x: Integers, n: int) -> Integers:
    """Divide by 2^n and drop the fraction: sign(x) * floor(|x| / 2^n).

    Args:
        x: int64 but its lowest value, any shape.
        n: shift, 0..62.
    """
    return np.where(x < 0, -(-x >> n), x >> n)


def clamp(x: Integers, low: int, high: int) -> Integers:
    """Limit every element of x to [low, high]."""
    return np.minimum(np.maximum(x, low), high)


def integer_range(bits: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest integer of a register: [0, 2**bits - 1], or two's complement when signed."""
    if signed:
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def bits_needed(low: int, high: int) -> int:
    """Width of the smallest two's complement register that holds every integer of [low, high]."""
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0) + 1
