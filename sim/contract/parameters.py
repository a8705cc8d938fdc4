"""What a field of a population holds, as its type: width, sign, whether it may differ per time-step and channel.

    leak: Multiplier16        an array (T or 1, C or 1) of signed 16-bit integers
    threshold: Threshold32    the same in 32 bits, within the state range
    leak_shift: Shift         one integer, 0..47
    table: Table256           256 messages, the same at every step

Executors, file, proof and cost model ask the type (`parameters_of`), never the name of a field.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeAlias, get_args, get_type_hints

import msgspec
import numpy as np

from ..arithmetic import integer_range
from ..errors import ProgramError
from .struct import Array, Pair

LARGEST_SHIFT = 47


class Parameter(msgspec.Struct, frozen=True):
    """An array of shape (T or 1, C or 1): signed integers, per time-step and channel or not.

    Attributes:
        bits: width in the file and in an executor, 16 or 32.
        state_wide: a chip holds it in a register of the state's width, not in `bits`.
        within_state: its values must lie in the state range.
        negative: whether negative values are allowed.
        per_step: whether it may differ from step to step; else its shape is (1, C or 1).
        largest: the largest value allowed, where that is less than the width holds.
    """

    bits: int
    state_wide: bool = False
    within_state: bool = False
    negative: bool = True
    per_step: bool = True
    largest: int | None = None

    def checked(self, where: str, array: Array, channels: int) -> Array:
        """The array in its stored width.

        Raises:
            ProgramError: no integers, another shape, or a value beyond the width; names `where`.
        """
        rows = array.shape[0] if array.ndim == 2 else 0
        fits = rows >= 1 and array.shape[1] in (1, channels) and (self.per_step or rows == 1)
        if array.dtype.kind not in "iu" or not fits:
            raise ProgramError(
                f"{where} must be integers of shape ({'T or 1' if self.per_step else 1}, {channels} or 1) "
                f"(got {array.dtype} {array.shape})"
            )
        low, high = integer_range(self.bits, signed=True)
        if array.min() < low or array.max() > high:
            worst = max(int(array.max()), -int(array.min()))
            raise ProgramError(f"{where} reaches {worst}, beyond signed {self.bits} bit")
        if not self.negative and array.min() < 0:
            raise ProgramError(f"{where} must not be negative (got {array.min()})")
        if self.largest is not None and array.max() > self.largest:
            raise ProgramError(f"{where} must be at most {self.largest} (got {array.max()})")
        return array.astype(np.int16 if self.bits == 16 else np.int32)

    def register_bits(self, state_bits: int) -> int:
        """Width that a chip stores one value in."""
        return state_bits if self.state_wide else self.bits


class ShiftRange(msgspec.Struct, frozen=True):
    """One integer, 0..largest: the shift of a rounding right shift."""

    largest: int = LARGEST_SHIFT

    def checked(self, where: str, value: int) -> int:
        """The value; raises ProgramError, which names `where`, when it is out of range."""
        if not 0 <= value <= self.largest:
            raise ProgramError(f"{where} must be in 0..{self.largest} (got {value})")
        return value


class Table(msgspec.Struct, frozen=True):
    """An array (entries,) of messages, the same for every step and channel; int32."""

    entries: int

    def checked(self, where: str, array: Array, limits: Pair) -> Array:
        """The array in its stored width; raises ProgramError when it is no such table of values within `limits`."""
        if array.shape != (self.entries,) or array.dtype.kind not in "iu":
            raise ProgramError(f"{where}: a table has {self.entries} integers (got {array.dtype} {array.shape})")
        if array.min() < limits[0] or array.max() > limits[1]:
            raise ProgramError(f"{where}: a table entry is outside its message range [{limits[0]}, {limits[1]}]")
        return array.astype(np.int32)


Kind: TypeAlias = Parameter | ShiftRange | Table

Multiplier16 = Annotated[np.ndarray, Parameter(16)]
"""A factor of an accumulator, a message or a state."""
Leak12 = Annotated[np.ndarray, Parameter(16, negative=False, largest=1 << 12)]
"""What is left of a state after a step, in units of 2^-12: 0..4096."""
Bias32 = Annotated[np.ndarray, Parameter(32, state_wide=True)]
Threshold32 = Annotated[np.ndarray, Parameter(32, state_wide=True, within_state=True)]
FiringThreshold32 = Annotated[np.ndarray, Parameter(32, state_wide=True, within_state=True, negative=False)]
"""The threshold of a binary neuron, which is also what a spike takes away: never negative."""
State32 = Annotated[np.ndarray, Parameter(32, state_wide=True, within_state=True, per_step=False)]
"""What a state is before the first step."""
Shift = Annotated[int, ShiftRange()]
Table256 = Annotated[np.ndarray, Table(256)]


class Field(NamedTuple):
    """One field of a struct of the contract: its name, what it holds, and the value."""

    name: str
    kind: Kind
    value: Any


@cache
def kinds_of(struct: type[msgspec.Struct]) -> dict[str, Kind]:
    """The typed fields of a struct, in order."""
    hints = get_type_hints(struct, include_extras=True)
    kinds = {name: get_args(hints[name])[1:] for name in struct.__struct_fields__}
    return {name: kind[0] for name, kind in kinds.items() if kind and isinstance(kind[0], Kind)}


def fields_of(struct: msgspec.Struct) -> Iterator[Field]:
    """The typed fields of a struct with their values; fields of other types are left out."""
    for name, kind in kinds_of(type(struct)).items():
        yield Field(name, kind, getattr(struct, name))
