"""Integers in C: an expression with the interval of its values, from which its type follows.

Every operation takes 32 bits where both the result and the operands are proven to fit, and 64 bits otherwise, so
that no generated expression overflows. Intermediates of up to 63 bits: `ranges.unproven` refuses more.
"""

from __future__ import annotations

import msgspec

from hmdf.sim.arithmetic import bits_needed
from hmdf.sim.contract.intervals import Interval
from hmdf.sim.errors import ProgramError

INT32 = Interval(-(1 << 31), (1 << 31) - 1)
INT64 = Interval(-(1 << 63), (1 << 63) - 1)


class Value(msgspec.Struct, frozen=True):
    """A C expression of type int32_t (or narrower), or int64_t, by its interval.

    Fields:
        text: the expression; brackets are put around it where an operator needs them.
        atom: whether it needs none: a name, a call, a constant.
    """

    text: str
    low: int
    high: int
    atom: bool = True

    def __post_init__(self) -> None:
        if self.low < INT64.low or self.high > INT64.high:
            raise ProgramError(f"an intermediate integer may reach {self.low}..{self.high}, beyond 64 bits")

    @property
    def wide(self) -> bool:
        return self.low < INT32.low or self.high > INT32.high

    @property
    def type(self) -> str:
        return "int64_t" if self.wide else "int32_t"

    @property
    def width(self) -> int:
        return 64 if self.wide else 32

    @property
    def bits(self) -> int:
        return bits_needed(self.low, self.high)

    @property
    def operand(self) -> str:
        return self.text if self.atom else f"({self.text})"

    def within(self, interval: Interval) -> Value:
        """The same value, known from elsewhere to lie in `interval`; cast where an int64_t then fits 32 bits."""
        low, high = max(self.low, interval.low), min(self.high, interval.high)
        return self._narrowed(low, high)

    def __add__(self, other: Value) -> Value:
        if other.low == other.high == 0:
            return self
        return self._binary(other, "+", self.low + other.low, self.high + other.high)

    def __sub__(self, other: Value) -> Value:
        return self._binary(other, "-", self.low - other.high, self.high - other.low)

    def __mul__(self, other: Value) -> Value:
        if other.low == other.high == 1:
            return self
        if self.low == self.high == 1:
            return other
        corners = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return self._binary(other, "*", min(corners), max(corners))

    def rshift(self, n: int) -> Value:
        """Divided by 2^n, halves rounded up."""
        if n == 0:
            return self
        low, high = ((limit >> n) + ((limit >> (n - 1)) & 1) for limit in (self.low, self.high))
        wide = self.wide or n > 31
        shifted = Value(f"rshift{64 if wide else 32}({self.text}, {n})", self.low, self.high)
        return shifted._as(wide)._narrowed(low, high, wide)

    def toward_zero(self, n: int) -> Value:
        """Divided by 2^n, the fraction dropped: what C's division does."""
        low, high = (-(-limit >> n) if limit < 0 else limit >> n for limit in (self.low, self.high))
        return Value(f"{self.operand} / {1 << n}", self.low, self.high, atom=False)._narrowed(low, high)

    def clamp(self, low: int, high: int) -> Value:
        """Limited to low..high; the value itself where it provably lies there."""
        if self.low >= low and self.high <= high:
            return self
        if self.low >= low:
            return self.minimum(constant(high))
        if self.high <= high:
            return self.maximum(constant(low))
        limits = f"{constant(low).text}, {constant(high).text}"
        text = f"clamp{self.width}({self.text}, {limits})"
        return Value(text, self.low, self.high)._narrowed(
            min(max(self.low, low), high), max(min(self.high, high), low), self.wide
        )

    def minimum(self, other: Value) -> Value:
        if self.high <= other.low:
            return self
        return self._call("min", other, min(self.low, other.low), min(self.high, other.high))

    def maximum(self, other: Value) -> Value:
        if self.low >= other.high:
            return self
        return self._call("max", other, max(self.low, other.low), max(self.high, other.high))

    def at_least(self, other: Value) -> str:
        """A C condition."""
        return f"{self.operand} >= {other.operand}"

    def _call(self, name: str, other: Value, low: int, high: int) -> Value:
        wide = self.wide or other.wide
        text = f"{name}{64 if wide else 32}({self.text}, {other.text})"
        return Value(text, INT32.low, INT32.high)._as(wide)._narrowed(low, high, wide)

    def _binary(self, other: Value, operator: str, low: int, high: int) -> Value:
        wide = self.wide or other.wide or low < INT32.low or high > INT32.high
        cast = "(int64_t)" if wide and not (self.wide or other.wide) else ""
        left = f"{cast}{self.operand}"
        text = f"{left} {operator} {other.operand}"
        return Value(text, INT32.low, INT32.high, atom=False)._as(wide)._narrowed(low, high, wide)

    def _as(self, wide: bool) -> Value:
        limits = INT64 if wide else INT32
        return Value(self.text, limits.low, limits.high, self.atom)

    def _narrowed(self, low: int, high: int, wide: bool | None = None) -> Value:
        """With another interval, and a cast where the expression is wide and the interval is not."""
        result = Value(self.text, low, high, self.atom)
        if (self.wide if wide is None else wide) and not result.wide:
            return Value(f"(int32_t){self.operand}", low, high)
        return result


def constant(n: int) -> Value:
    """An integer constant."""
    return Value(literal(n), n, n)


def literal(n: int) -> str:
    """An integer as C writes it: the smallest of a type has no literal of its own."""
    if n in (INT32.low, INT64.low):
        return f"({literal(n + 1)} - 1)"
    return str(n) if INT32.low <= n <= INT32.high else f"INT64_C({n})"
