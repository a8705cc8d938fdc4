"""Weights at their true width: 8 one-bit weights, 5 ternary weights or 2 four-bit weights per byte.

The layout is part of the file format (docs/program-format.md): flat C order, first weight in the lowest digit,
unused digits of the last byte are 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import ProgramError

_TRITS = 5
_POWERS = np.array([3**i for i in range(_TRITS)], dtype=np.uint8)
_TRITS_OF_BYTE = (np.arange(256, dtype=np.uint8)[:, None] // _POWERS % 3).view(np.int8)
_PER_BYTE = {1: 8, 2: _TRITS, 4: 2, 8: 1}


def packed_bytes(count: int, weight_bits: int) -> int:
    """Bytes that `count` weights take in a file or a weight memory."""
    return -(-count // _PER_BYTE[weight_bits])


def pack(weight: NDArray[np.int8], weight_bits: int) -> NDArray[np.uint8]:
    """Weights of any shape to bytes.

    1 bit: bit i of a byte is 1 for +1. Ternary: byte = sum over i of (w_i + 1) * 3^i. 4 bit: two's complement
    nibbles, low nibble first. 8 bit: the bytes themselves.
    """
    flat = weight.reshape(-1)
    if weight_bits == 8:
        return flat.view(np.uint8).copy()
    per_byte = _PER_BYTE[weight_bits]
    digits = np.zeros(packed_bytes(flat.size, weight_bits) * per_byte, dtype=np.uint8)
    match weight_bits:
        case 1:
            digits[: flat.size] = flat > 0
            return np.packbits(digits, bitorder="little")
        case 2:
            digits[: flat.size] = flat + 1
            return (digits.reshape(-1, per_byte) * _POWERS).sum(axis=1, dtype=np.uint8)
        case _:
            digits[: flat.size] = flat & 15
            return (digits[0::2] | (digits[1::2] << 4)).astype(np.uint8)


def unpack(packed: NDArray[np.uint8], count: int, weight_bits: int) -> NDArray[np.int8]:
    """Bytes to `count` weights, flat; the inverse of `pack`.

    Raises:
        ProgramError: the number of bytes is not the one that `count` weights take, a byte is no five trits,
            or an unused digit is not 0.
    """
    if packed.size != packed_bytes(count, weight_bits):
        raise ProgramError(
            f"{packed.size} bytes cannot hold exactly {count} weights of {weight_bits} bits "
            f"({packed_bytes(count, weight_bits)} bytes)"
        )
    match weight_bits:
        case 8:
            return packed.view(np.int8).copy()
        case 1:
            digits = np.unpackbits(packed, bitorder="little").view(np.int8)
            weights = digits * 2 - 1
        case 2:
            if packed.size and packed.max() > 242:
                raise ProgramError(f"byte {int(packed.max())} holds no five trits (0..242)")
            digits = _TRITS_OF_BYTE[packed].reshape(-1)
            weights = digits - 1
        case _:
            digits = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1).view(np.int8)
            weights = np.where(digits > 7, digits - 16, digits).astype(np.int8)
    if digits[count:].any():
        raise ProgramError("an unused digit of the last byte is not 0")
    return weights[:count].astype(np.int8)
