"""What all parts of the contract share: their base class, names, shapes."""

from __future__ import annotations

import re
from math import prod
from typing import Any, dataclass_transform

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import ProgramError

Pair = tuple[int, int]
Shape = tuple[int, ...]
Array = NDArray[Any]

INPUT = "input"
"""The name under which nodes refer to the program's input."""
MAX_ELEMENTS = 1 << 31
"""Largest number of neurons of a population, checked before anything is allocated."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")


@dataclass_transform(frozen_default=True, kw_only_default=False, eq_default=False)
class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False):
    """Base of every part of a Program that holds arrays: frozen, compared by identity, strict when it is read."""

    def _freeze(self, field: str, array: Array) -> None:
        """Replace a field by a contiguous array that cannot be written."""
        frozen = np.ascontiguousarray(array)
        if frozen.flags.writeable:
            frozen = frozen.copy() if frozen is array else frozen
            frozen.setflags(write=False)
        msgspec.structs.force_setattr(self, field, frozen)


def check_name(name: str) -> None:
    """Raise ProgramError unless `name` can be a node's."""
    if len(name) > 200 or not _NAME.fullmatch(name) or name in (INPUT, "readout"):
        raise ProgramError(f"'{name[:60]}' is not a node name: letters, digits, '_', '.'; not '{INPUT}' or 'readout'")


def check_shape(where: str, shape: Shape) -> None:
    """Raise ProgramError unless `shape` is (C, H, W) or (F,), with neither too few nor too many elements."""
    if len(shape) not in (1, 3) or min(shape) < 1 or prod(shape) > MAX_ELEMENTS:
        raise ProgramError(f"{where}: shape must be (C, H, W) or (F,) (got {shape})")
