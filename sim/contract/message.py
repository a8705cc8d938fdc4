"""What travels on an edge."""

from __future__ import annotations

from math import isfinite

import msgspec

from ..arithmetic import integer_range
from ..errors import ProgramError
from .struct import Pair


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An integer of `bits` bits whose least significant bit is worth `scale`."""

    bits: int
    signed: bool
    scale: float

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise ProgramError(f"a message has 1..16 bits (got {self.bits})")
        if self.signed and self.bits < 2:
            raise ProgramError("a signed message needs at least 2 bits (got 1)")
        if not (isfinite(self.scale) and self.scale > 0):
            raise ProgramError(f"the scale of a message must be positive and finite (got {self.scale})")

    @property
    def range(self) -> Pair:
        """Smallest and largest integer: [0, 2^bits - 1], or [-2^(bits-1), 2^(bits-1) - 1] when signed."""
        return integer_range(self.bits, self.signed)
