"""What an executor is: anything that runs a Program and says every message that was sent."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from .arithmetic import Integers
from .errors import InputError
from .program import Program


class Taps(msgspec.Struct, frozen=True, eq=False):
    """Everything that executors must agree on.

    Attributes:
        messages: by population, integers of shape (N, T, *population shape).
        logits: int64 (N, classes).
        saturations: by population, int64 (2,): clamps that changed a value, of the state and of the message.
            Empty for executors that do not count them.
    """

    messages: dict[str, NDArray[Any]]
    logits: Integers
    saturations: dict[str, Integers] = {}


class Executor(Protocol):
    """Anything that runs a Program; see `verify.compare`."""

    name: str

    def run(self, program: Program, messages: NDArray[Any]) -> Taps:
        """`messages`: integers (N, 1 or T, *input shape), as made by `encoder.encode`."""


def check_messages(program: Program, messages: NDArray[Any]) -> None:
    """Raise InputError unless `messages` are integers (N, 1 or T, *input shape) within the message range."""
    wanted = (program.input_steps, *program.input.shape)
    if messages.dtype.kind not in "iu" or messages.ndim < 2 or messages.shape[1:] != wanted:
        raise InputError(
            f"input must be integers of shape (N, {', '.join(map(str, wanted))}), got {messages.dtype} {messages.shape}"
        )
    low, high = program.input.message.range
    if messages.size and (messages.min() < low or messages.max() > high):
        raise InputError(f"input messages must lie in [{low}, {high}] (got {messages.min()}..{messages.max()})")
