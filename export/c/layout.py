"""Names, types and the order of integers in the generated C.

Messages and states are stored channels last, (H, W, C): what one position of an image needs lies side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import Message, Shape
from hmdf.sim.contract.intervals import Interval

_RANGES = {
    "u8": (0, (1 << 8) - 1),
    "i8": (-(1 << 7), (1 << 7) - 1),
    "u16": (0, (1 << 16) - 1),
    "i16": (-(1 << 15), (1 << 15) - 1),
    "i32": (-(1 << 31), (1 << 31) - 1),
    "i64": (-(1 << 63), (1 << 63) - 1),
}
DTYPES = {"u8": "u1", "i8": "i1", "u16": "u2", "i16": "i2", "u32": "u4", "i32": "i4", "i64": "i8"}
"""NumPy types without their byte order."""
TYPES = {code: f"{'u' if code[0] == 'u' else ''}int{code[1:]}_t" for code in DTYPES}
SIZES = {code: int(dtype[1]) for code, dtype in DTYPES.items()}
_LINE = 112
_RESERVED = ("model_step", "readout_step")


class Names:
    """C identifiers for the parts of a program: unique, and recognisable by the node's name."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}

    def __call__(self, node: str, what: str) -> str:
        """The identifier of one thing of a node, the same each time it is asked for.

        ("layer1.conv", "weights") is layer1_conv_weights.
        """
        key = (node, what)
        if key not in self._given:
            base = f"{re.sub(r'[^A-Za-z0-9]', '_', node).lstrip('_') or 'node'}_{what}"
            base = f"n{base}" if base[0].isdigit() else base
            name, taken, number = base, {*self._given.values(), *_RESERVED}, 2
            while name in taken:
                name, number = f"{base}_{number}", number + 1
            self._given[key] = name
        return self._given[key]


def code_of(limits: Interval) -> str:
    """The narrowest stored type that holds an interval: "u8", "i8", "u16", "i16", "i32" or "i64"."""
    return next(c for c, (low, high) in _RANGES.items() if low <= limits.low and limits.high <= high)


def message_code(message: Message) -> str:
    return code_of(Interval(*message.range))


def positions(shape: Shape) -> int:
    """Pixels: 1 for (F,)."""
    return shape[1] * shape[2] if len(shape) == 3 else 1


def channels_last(array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """(..., C, H, W) to (..., H, W, C); (..., F) as it is."""
    return np.moveaxis(array, -3, -1) if len(shape) == 3 else array


def channels_first(array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """(..., H * W * C), flat, to (..., C, H, W) or (..., F)."""
    if len(shape) == 1:
        return array.reshape(*array.shape[:-1], *shape)
    return np.moveaxis(array.reshape(*array.shape[:-1], shape[1], shape[2], shape[0]), -1, -3)


def number_lines(numbers: Iterable[int | str], indent: str = "    ") -> str:
    """Numbers of an initialiser, in lines."""
    lines, line = [], indent
    for number in numbers:
        text = f"{number},"
        if len(line) + len(text) > _LINE:
            lines.append(line.rstrip())
            line = indent
        line += text
    return "\n".join([*lines, line.rstrip()]) if line.strip() else "\n".join(lines)
