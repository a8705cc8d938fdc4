"""The form of a dynamics in ONNX: a function from current, parameters and states to message and next states."""

from __future__ import annotations

import msgspec

from hmdf.sim.contract.dynamics import BaseDynamics
from hmdf.sim.contract.parameters import ShiftRange, kinds_of


class Update(msgspec.Struct, frozen=True):
    """How one step of a dynamics is computed.

    Attributes:
        dynamics: the kind; its fields and states are the function's arguments.
        equation: shown as the function's documentation in viewers.
        body: from `current`, the arrays, the shifts and the states to `message`, and `v_next` of each state `v`.
        limits: attributes that it takes of state_min, state_max, message_min, message_max.
    """

    dynamics: type[BaseDynamics]
    equation: str
    body: str
    limits: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.dynamics.__name__}Update"

    @property
    def arrays(self) -> tuple[str, ...]:
        """Fields that are passed as inputs."""
        return tuple(name for name, kind in kinds_of(self.dynamics).items() if not isinstance(kind, ShiftRange))

    @property
    def shifts(self) -> tuple[str, ...]:
        """Fields that are passed as attributes."""
        return tuple(name for name, kind in kinds_of(self.dynamics).items() if isinstance(kind, ShiftRange))

    @property
    def states(self) -> tuple[str, ...]:
        return self.dynamics.facts.states

    @property
    def results(self) -> str:
        """Names of what it returns."""
        return ", ".join(("message", *(f"{state}_next" for state in self.states)))

    @property
    def text(self) -> str:
        """The function without its name."""
        attributes, inputs = (*self.shifts, *self.limits), ("current", *self.arrays, *self.states)
        return f" <{', '.join(attributes)}> ({', '.join(inputs)}) => ({self.results}) {{{self.body}}}"
