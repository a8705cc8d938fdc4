"""The rounding right shift of docs/numerics.md, in 32-bit lanes and in 64 bits, and where a parameter is."""

from __future__ import annotations

from .compiling import kernel
from .lanes import at_least, chosen, larger, shift_right, splat


@kernel
def parameter_at(parameter, t, tile):
    """Index in the pool of parameters of the tile's first channel at step t."""
    return parameter.offset + t * parameter.step + tile.channel


@kernel
def rshift(x, n):
    """As arithmetic.rshift, of one integer."""
    if n == 0:
        return x
    return (x >> n) + ((x >> (n - 1)) & 1)


@kernel
def toward_zero(x, n):
    """As arithmetic.toward_zero, of one integer."""
    return -(-x >> n) if x < 0 else x >> n


@kernel
def half_of(shift):
    """2^(shift - 1), or 0 without a shift: what is added before a shift that rounds."""
    return splat((1 << shift) >> 1)


@kernel
def scaled(factor, x, split, half, shift):
    """rshift(factor * x, split + shift) of Lanes, for half = half_of(shift).

    For a product beyond 32 bits: x = high * 2^split + low, and the floor of a sum's quotient by 2^split is
    factor * high + floor(factor * low / 2^split); no bit that rounding looks at is lost, since shift >= 1 then.
    """
    if split == 0:
        return shift_right(factor * x + half, shift)
    low = x & splat((1 << split) - 1)
    product = factor * shift_right(x, split) + shift_right(factor * low, split)
    return shift_right(product + half, shift)


@kernel
def decayed(factor, x, split, shift):
    """toward_zero(factor * x, split + shift) of Lanes, for factor >= 0; split as in `scaled`."""
    zero = splat(0)
    quotient = scaled(factor, larger(x, zero - x), split, zero, shift)
    return chosen(at_least(x, zero), quotient, zero - quotient)
