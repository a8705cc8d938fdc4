"""A neuron's time-step for four channels at a time in Helium, the vectors of a Cortex-M55."""

from __future__ import annotations

from hmdf.sim.contract.intervals import Interval

from .layout import code_of
from .neuron import NeuronWriter
from .values import INT32, Value, literal

LANES = 4
_LOADS = {
    "i8": "vldrbq_s32({})",
    "u8": "vreinterpretq_s32_u32(vldrbq_u32({}))",
    "i16": "vldrhq_s32({})",
    "u16": "vreinterpretq_s32_u32(vldrhq_u32({}))",
    "i32": "vldrwq_s32({})",
}
_STORES = {
    "i8": "vstrbq_s32({}, {});",
    "u8": "vstrbq_u32({}, vreinterpretq_u32_s32({}));",
    "i16": "vstrhq_s32({}, {});",
    "u16": "vstrhq_u32({}, vreinterpretq_u32_s32({}));",
    "i32": "vstrwq_s32({}, {});",
}


class NoLanesError(Exception):
    """An operation that has no form in vectors of 32 bits; the neuron is computed channel by channel."""


class Lanes(Value, frozen=True):
    """Four integers as an expression of type int32x4_t.

    Fields:
        factors: of a product that is not written out yet.
    """

    factors: tuple[Lanes, Lanes] | None = None

    def __post_init__(self) -> None:
        if self.factors is None and self.wide:
            raise NoLanesError

    @property
    def vector(self) -> str:
        """The expression; a product where it fits 32 bits."""
        if self.factors is None:
            return self.text
        if self.wide:
            raise NoLanesError
        return f"vmulq_s32({self.factors[0].vector}, {self.factors[1].vector})"

    def within(self, interval: Interval) -> Lanes:
        return Lanes(self.text, max(self.low, interval.low), min(self.high, interval.high), True, self.factors)

    def __add__(self, other: Value) -> Lanes:
        if other.low == other.high == 0:
            return self
        return self._made("vaddq_s32", other, self.low + other.low, self.high + other.high)

    def __sub__(self, other: Value) -> Lanes:
        return self._made("vsubq_s32", other, self.low - other.high, self.high - other.low)

    def __mul__(self, other: Value) -> Lanes:
        factor = lanes(other)
        if factor.low == factor.high == 1:
            return self
        if self.low == self.high == 1:
            return factor
        corners = [a * b for a in (self.low, self.high) for b in (factor.low, factor.high)]
        return Lanes("", min(corners), max(corners), True, (self, factor))

    def rshift(self, n: int) -> Lanes:
        """Halves rounded up: a product as the upper 32 of 64 bits of its factors shifted up by 32 - n."""
        if n == 0:
            return self
        low, high = ((limit >> n) + ((limit >> (n - 1)) & 1) for limit in (self.low, self.high))
        if n > 32:
            raise NoLanesError
        if self.factors is not None and self.wide:
            a, b = self.factors
            ways = [(a.shifted(up), b.shifted(32 - n - up)) for up in range(33 - n)]
            if found := [way for way in ways if all(way)]:
                first, second = min(found, key=lambda way: way[0].count("vshlq") + way[1].count("vshlq"))
                return Lanes(f"vrmulhq_s32({first}, {second})", low, high)
        return Lanes(f"vrshrq_n_s32({self.vector}, {n})", low, high)

    def shifted(self, n: int) -> str:
        """The expression of 2^n times this; "" where that does not fit 32 bits."""
        if self.wide or min(self.low << n, 0) < INT32.low or self.high << n > INT32.high:
            return ""
        if n == 0:
            return self.vector
        if self.low == self.high:
            return f"vdupq_n_s32({literal(self.low << n)})"
        return f"vshlq_n_s32({self.vector}, {n})"

    def toward_zero(self, n: int) -> Lanes:
        raise NoLanesError

    def clamp(self, low: int, high: int) -> Lanes:
        return self.maximum(Value(literal(low), low, low)).minimum(Value(literal(high), high, high))

    def minimum(self, other: Value) -> Lanes:
        if self.high <= other.low:
            return self
        return self._made("vminq_s32", other, min(self.low, other.low), min(self.high, other.high))

    def maximum(self, other: Value) -> Lanes:
        if self.low >= other.high:
            return self
        return self._made("vmaxq_s32", other, max(self.low, other.low), max(self.high, other.high))

    def at_least(self, other: Value) -> str:
        return f"vcmpgeq_s32({self.vector}, {lanes(other).vector})"

    def _made(self, function: str, other: Value, low: int, high: int) -> Lanes:
        return Lanes(f"{function}({self.vector}, {lanes(other).vector})", low, high)


def lanes(value: Value, code: str = "") -> Lanes:
    """A scalar expression over channel c as four lanes; an element [c] of an array is loaded with its three neighbours.

    Args:
        code: type of the array's elements; that of the value's interval unless given.
    """
    if isinstance(value, Lanes):
        return value
    if value.text.endswith("[c]"):
        code = code or code_of(Interval(value.low, value.high))
        if code not in _LOADS:
            raise NoLanesError
        return Lanes(_LOADS[code].format(f"&{value.text}"), value.low, value.high)
    if value.wide:
        raise NoLanesError
    return Lanes(f"vdupq_n_s32({value.text})", value.low, value.high)


class LaneWriter(NeuronWriter):
    """Writes the statements for four channels from c on."""

    def element(self, value: Value, code: str = "") -> Value:
        return lanes(value, code)

    def lookup(self, name: str, index: Value) -> Value:
        raise NoLanesError

    def state(self, name: str) -> Value:
        return lanes(super().state(name), code_of(self.state_interval))

    def set(self, name: str, value: Value) -> None:
        self._store(name, value, code_of(self.state_interval))

    def send(self, value: Value, code: str) -> None:
        self._store("out", value, code)

    def let(self, name: str, value: Value) -> Value:
        found = lanes(value)
        self.lines.append(f"const int32x4_t {name} = {found.vector};  /* {found.low}..{found.high} */")
        return Lanes(name, found.low, found.high)

    def fire_to(self, name: str, m: Value, threshold: Value, reset: Value) -> Value:
        self.lines.append(f"const mve_pred16_t fires = {m.at_least(threshold)};")
        after = f"vpselq_s32({lanes(reset).vector}, {lanes(m).vector}, fires)"
        self.set(name, Lanes(after, min(m.low, reset.low), max(m.high, reset.high)))
        return Lanes("vpselq_s32(vdupq_n_s32(1), vdupq_n_s32(0), fires)", 0, 1)

    def _store(self, array: str, value: Value, code: str) -> None:
        if code not in _STORES:
            raise NoLanesError
        self.lines.append(_STORES[code].format(f"&{array}[c]", lanes(value).vector))
