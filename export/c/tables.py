"""Constant arrays of the generated C: weights and parameters."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract.intervals import Interval

from .layout import DTYPES, SIZES, TYPES, Names, code_of, number_lines
from .values import Value, constant, literal

PREFIX = "model_"
"""What external names begin with."""


class ConstantArray(msgspec.Struct, frozen=True, eq=False):
    """A constant array in weights.c.

    Fields:
        name: its identifier.
        code: type of its elements, as in layout.TYPES.
        array: its values; more than one axis where C sees more than one.
        note: what it holds.
        only: the condition of the preprocessor under which it exists; "" for always.
    """

    name: str
    code: str
    array: NDArray[Any]
    note: str
    only: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.array.size * SIZES[self.code]

    @property
    def declaration(self) -> str:
        return f"const {TYPES[self.code]} {self.name}{''.join(f'[{n}]' for n in self.array.shape)}"

    def where_it_exists(self, text: str) -> str:
        return f"#if {self.only}\n{text}#endif\n" if self.only else text

    @property
    def definition(self) -> str:
        array = np.ascontiguousarray(self.array.astype(DTYPES[self.code]))
        numbers = (literal(n) for n in array.reshape(-1).tolist())
        if array.ndim == 1:
            body = number_lines(numbers)
        else:
            flat = array.reshape(len(array), -1).tolist()
            body = "\n".join(f"    {{\n{number_lines(map(literal, row), ' ' * 8)}\n    }}," for row in flat)
        return self.where_it_exists(f"/* {self.note} */\n{self.declaration} = {{\n{body}\n}};\n")


class Parameters:
    """The parameters of one population as C expressions over t and c; those that are no constants go into tables.

    Fields:
        tables: for weights.c.
        locals: statements at the start of the function that uses the expressions.
    """

    def __init__(self, names: Names, population: str) -> None:
        self._names, self._population = names, population
        self.tables: list[ConstantArray] = []
        self.locals: list[str] = []

    def value(self, what: str, array: NDArray[Any]) -> Value:
        """The expression of a (T or 1, C or 1) array at step t, channel c.

        Args:
            what: a C identifier.
        """
        steps, channels = array.shape
        low, high = int(array.min()), int(array.max())
        if low == high:
            return constant(low)
        code = code_of(Interval(low, high))
        squeezed = array if steps > 1 and channels > 1 else array.reshape(-1)
        axes = "[t][c]" if squeezed.ndim == 2 else "[c]" if channels > 1 else "[t]"
        table = ConstantArray(
            PREFIX + self._names(self._population, what), code, squeezed, f"{self._population}: {what}{axes}"
        )
        self.tables.append(table)
        if steps == 1:
            return Value(f"{table.name}[c]", low, high)
        star, ending = ("*", "[c]") if channels > 1 else ("", "")
        self.locals.append(f"const {TYPES[code]} {star}{what} = {table.name}[t];")
        return Value(what + ending, low, high)

    def lookup(self, what: str, array: NDArray[Any]) -> str:
        """The name of a table that is indexed by a value."""
        code = code_of(Interval(int(array.min()), int(array.max())))
        name = PREFIX + self._names(self._population, what)
        self.tables.append(ConstantArray(name, code, array, f"{self._population}: {what}"))
        return name
