"""Populations: neurons that take in currents, keep a state and send one message per neuron and time-step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import ProgramError
from .dynamics import Dynamics
from .message import Message
from .parameters import Bias32, Multiplier16, Parameter, Shift, State32, Table, fields_of
from .struct import Array, Contract, Shape, check_name, check_shape


class Port(Contract):
    """How a population takes in one accumulator or one message: rshift(multiplier[t,c] * in, shift)."""

    source: str
    multiplier: Multiplier16
    shift: Shift


class Gate(Contract):
    """Scales the current by one message per channel: I = rshift(I * gate[c], shift) + bias[t,c].

    That is channel attention (HM-DF eq. 8, 9).

    `source`: a population of shape (C,) or (C, 1, 1). `bias`: what the gate must not scale.
    """

    source: str
    shift: Shift
    bias: Bias32


class InitialState(Contract):
    """What a state of the dynamics is before the first step of every sample: value[0, c]. Of a state without one: 0."""

    state: str
    value: State32


class Entry(NamedTuple):
    """A (T or 1, C or 1) array of a population, with the name it has in messages to the user and its type."""

    what: str
    array: Array
    type: Parameter


class Population(Contract, tag="population"):
    """Neurons of one kind.

    Attributes:
        shape: (C, H, W) or (F,).
        ports: summed; each source has the population's shape.
        bias: added to the sum of the ports.
        gate: optional channel gate, applied after the bias.
        dynamics: what the neuron does with the current I.
        message: what it sends.
        initial_state: of some or all states of the dynamics, in their order.
    """

    name: str
    shape: Shape
    ports: tuple[Port, ...]
    bias: Bias32
    dynamics: Dynamics
    message: Message
    gate: Gate | None = None
    initial_state: tuple[InitialState, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        check_shape(f"population '{self.name}'", self.shape)
        if not self.ports:
            raise ProgramError(f"population '{self.name}': has no port")
        states, given = self.dynamics.facts.states, [initial.state for initial in self.initial_state]
        if given != [state for state in states if state in given]:
            raise ProgramError(
                f"population '{self.name}': initial states {', '.join(given)}; a {self.dynamics.kind()} neuron has "
                f"{', '.join(states) or 'no state'}: each once, in this order"
            )
        for part, field, what, kind in self._fields():
            value = getattr(part, field)
            if isinstance(kind, Parameter):
                part._freeze(field, kind.checked(f"population '{self.name}': {what}", value, self.shape[0]))
            elif isinstance(kind, Table):
                part._freeze(field, kind.checked(f"population '{self.name}'", value, self.message.range))
            else:
                kind.checked(f"population '{self.name}': {what}", value)
        if self.dynamics.facts.spikes is not None and self.message.signed:
            raise ProgramError(f"population '{self.name}': spikes are unsigned, its message is signed")

    def parameters(self) -> Iterator[Entry]:
        """Every array that may differ per time-step and channel."""
        for part, field, what, kind in self._fields():
            if isinstance(kind, Parameter):
                yield Entry(what, getattr(part, field), kind)

    def tables(self) -> Iterator[tuple[Table, Array]]:
        """Every array that is the same for all steps and channels."""
        for _, kind, value in fields_of(self.dynamics):
            if isinstance(kind, Table):
                yield kind, value

    def initial(self) -> dict[str, Array]:
        """By state, what it is before the first step, (1, C or 1); states that start at 0 are left out."""
        return {initial.state: initial.value for initial in self.initial_state}

    def _fields(self) -> Iterator[tuple[Contract, str, str, Any]]:
        """Each typed field: the part that holds it, its name there, its name for the user, its kind."""
        parts: list[tuple[Contract, str]] = [(self, ""), *((p, f" of port '{p.source}'") for p in self.ports)]
        if self.gate is not None:
            parts.append((self.gate, " of the gate"))
        parts += [(initial, f" of initial state '{initial.state}'") for initial in self.initial_state]
        for part, suffix in [*parts, (self.dynamics, "")]:
            for name, kind, _ in fields_of(part):
                yield part, name, name + suffix, kind
