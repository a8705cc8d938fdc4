"""What every dynamics states: its fields by type, what is true of it, one step in integers, the bounds of a step."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import msgspec

from ...arithmetic import Integers
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from ..struct import Contract


class Facts(msgspec.Struct, frozen=True):
    """What is true of a kind of neuron.

    Attributes:
        states: what a neuron keeps from step to step, in the order in which a step replaces them.
        leaks: fields by which a state multiplies itself from step to step.
        couplings: fields by which one state drives another.
        leak_shift: the field with the shift of all leaks and couplings; "" without state.
        activation: whether the message is more than the current itself, limited to its range.
        spikes: "graded" (above a threshold, in steps of 2^spike_shift), "binary", or None for what is no spike.
        reset: the field with what a membrane becomes by a spike; "" where a spike takes its threshold away.
        format_version: the first version of the file format that has this kind.
    """

    states: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    couplings: tuple[str, ...] = ()
    leak_shift: str = ""
    activation: bool = True
    spikes: Literal["graded", "binary"] | None = None
    reset: str = ""
    format_version: int = 1


class BaseDynamics(Contract):
    """What a neuron does with its current."""

    facts: ClassVar[Facts]

    @classmethod
    def kind(cls) -> str:
        """The name in files, targets and messages to the user: "hybrid_firing"."""
        return str(cls.__struct_config__.tag)

    @abstractmethod
    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        """The definition of one time-step: message of the current, (N, *shape); the states are replaced."""

    @abstractmethod
    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        """Bounds of the message, (C,), from those of the current; the states' bounds are replaced."""
