"""One neuron's time-step as C statements, with what is proven of each integer."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hmdf.sim.arithmetic import integer_range
from hmdf.sim.contract import Population
from hmdf.sim.contract.dynamics import BaseDynamics
from hmdf.sim.contract.intervals import Interval
from hmdf.sim.contract.parameters import Parameter, fields_of
from hmdf.sim.ranges import PopulationRange

from .layout import TYPES, code_of
from .tables import Parameters
from .values import Value


class NeuronCode(msgspec.Struct, frozen=True):
    """How one step of a dynamics is computed.

    Fields:
        dynamics: the kind.
        equation: its lines, for the comment.
        write: writes the statements from the current on, and returns the message.
    """

    dynamics: type[BaseDynamics]
    equation: tuple[str, ...]
    write: Callable[[NeuronWriter, Value], Value]


class NeuronWriter:
    """What a dynamics file writes its statements with.

    Fields:
        lines: the statements so far.
    """

    def __init__(self, population: Population, proof: PopulationRange, parameters: Parameters, state_bits: int) -> None:
        self._population, self._proof, self._parameters = population, proof, parameters
        self._limits = integer_range(state_bits, signed=True)
        self.lines: list[str] = []

    def parameter(self, name: str) -> Value:
        """A field of the dynamics that may differ by step and channel."""
        return self.element(self._parameters.value(name, getattr(self._population.dynamics, name)))

    def element(self, value: Value, code: str = "") -> Value:
        """What is computed with for a value, an element of an array of that type or a parameter."""
        return value

    def shift(self, name: str) -> int:
        return int(getattr(self._population.dynamics, name))

    def lookup(self, name: str, index: Value) -> Value:
        """An entry of a table."""
        array = getattr(self._population.dynamics, name)
        entries = array[index.low : index.high + 1]
        table = self._parameters.lookup(name, array)
        return Value(f"{table}[{index.text}]", int(entries.min()), int(entries.max()))

    def state(self, name: str) -> Value:
        limits = self.state_interval
        return Value(f"{name}[c]", limits.low, limits.high)

    def set(self, name: str, value: Value) -> None:
        self.lines.append(f"{name}[c] = {stored(value, code_of(self.state_interval))};")

    def let(self, name: str, value: Value) -> Value:
        """A named intermediate."""
        if value.text == name:
            return value
        self.lines.append(f"const {value.type} {name} = {value.text};  /* {value.low}..{value.high} */")
        return Value(name, value.low, value.high)

    def send(self, value: Value, code: str) -> None:
        self.lines.append(f"out[c] = {stored(value, code)};")

    def membrane(self, value: Value) -> Value:
        """Within what is proven of a membrane before its clamp, then clamped to the state range."""
        assert self._proof.membrane is not None
        return self.limit_state(value.within(self._proof.membrane))

    def limit_state(self, value: Value) -> Value:
        return value.clamp(*self._limits)

    def limit_message(self, value: Value) -> Value:
        return value.clamp(*self._population.message.range)

    def fire(self, name: str, m: Value, threshold: Value) -> Value:
        """y = [m >= threshold], state <- m - y * threshold; returns y."""
        return self.fire_to(name, m, threshold, (m - threshold).within(self.state_interval))

    def fire_to(self, name: str, m: Value, threshold: Value, reset: Value) -> Value:
        """y = [m >= threshold], state <- reset if y else m; returns y."""
        self.lines.append(f"const int32_t y = {m.at_least(threshold)};")
        self.set(name, Value(f"y ? {reset.operand} : {m.operand}", *_hull(m, reset), atom=False))
        return Value("y", 0, 1)

    @property
    def state_interval(self) -> Interval:
        """Every state after any step, and before the first: its clamped membrane, a threshold after a reset, 0."""
        assert self._proof.membrane is not None
        low, high = max(self._proof.membrane.low, self._limits[0]), min(self._proof.membrane.high, self._limits[1])
        for _, kind, array in fields_of(self._population.dynamics):
            if isinstance(kind, Parameter) and kind.within_state:
                low, high = min(low, int(array.min())), max(high, int(array.max()))
        return Interval(min(low, 0), max(high, 0))


def _hull(a: Value, b: Value) -> tuple[int, int]:
    return min(a.low, b.low), max(a.high, b.high)


def stored(value: Value, code: str) -> str:
    """The expression of a value as an element of that type."""
    return value.text if code == "i32" else f"({TYPES[code]}){value.operand}"
