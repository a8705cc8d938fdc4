"""How continuous time becomes time-steps. NIR leaves that to every platform, so a file does not say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal, get_args

import numpy as np

from hmdf.sim.errors import InputError

from ..graph import Array

Reset = Literal["value", "subtract", "subtract-later"]


@dataclass(frozen=True)
class Dialect:
    r"""The difference equations of the framework that wrote a graph.

    With D the time step, a state x with time constant tau keeps k of itself and takes in 1 - k of what drives it:
    v <- k v + (1 - k) (v_leak + R I), where k = 1 - D / tau ("euler") or exp(-D / tau) ("exponential"). The current of
    CubaLIF and CubaLI takes in w_in S likewise, and drives the membrane in the same step. Integrators: v <- v + D R I.

    Attributes:
        time_step: D, in the unit of the graph's time constants.
        decay: "euler" or "exponential".
        reset: what a spike does to the membrane: "value", it becomes v_reset, as NIR defines; "subtract", the
            distance from v_reset to the threshold is taken off; "subtract-later", the same after the next leak.
        above: whether a neuron fires above its threshold, as NIR defines, or at it. Where a spike takes the threshold
            away it fires at it in any case: a membrane rarely is at it exactly.
        impulses: whether IF and I, and the current of CubaLIF and CubaLI, take in their input whole (D = tau = 1).
    """

    time_step: float
    decay: Literal["euler", "exponential"] = "euler"
    reset: Reset = "value"
    above: bool = True
    impulses: bool = False

    def kept(self, tau: Array) -> Array:
        """k: what a state with time constant `tau` keeps of itself in a step."""
        return 1 - self.time_step / tau if self.decay == "euler" else np.exp(-self.time_step / tau)

    @property
    def text(self) -> str:
        """All of it in a line, for a program's metadata; `dialect_from` reads it."""
        return f"NIR {self.time_step!r} {self.decay} {self.reset} above={self.above} impulses={self.impulses}"

    def __str__(self) -> str:
        how = {"euler": "forward Euler", "exponential": "exponential decay"}[self.decay]
        spike = {
            "value": "a spike resets the membrane to v_reset",
            "subtract": "a spike takes the threshold off the membrane",
            "subtract-later": "a spike takes the threshold off the membrane after its next leak",
        }[self.reset]
        return f"steps of {self.time_step:g}, {how}; {spike}"


DIALECTS = {
    "nir": Dialect(float("nan")),
    "snntorch": Dialect(1e-4, reset="subtract-later"),
    "sinabs": Dialect(1.0, "exponential", "subtract", above=False),
    "norse": Dialect(1e-6, impulses=True),
    "spikingjelly": Dialect(1e-4, above=False),
    "hmdf": Dialect(1.0),
}
"""By the framework that wrote the graph, as its exporter and its neurons have it with their default options; "nir" is
what NIR's equations say, with a time step to be given; that of "hmdf" is in the graph's metadata. docs/nir.md says why
each is so."""


WRITTEN = "hmdf_steps"
"""In the metadata of a graph that hmdf wrote: its reset, and whether its neurons fire "above" or "at" the threshold."""


MESSAGE_SCALE = "hmdf_message_scale"
"""In the metadata of an integrator that hmdf wrote: what one unit of its message is worth."""


def dialect_of(name: str | Dialect, time_step: float | None = None, reset: Reset | None = None) -> Dialect:
    """A dialect by name, with another time step or reset where given.

    Raises:
        InputError: there is no such dialect, or its time step is not given or not positive.
    """
    if isinstance(name, str):
        if name not in DIALECTS:
            raise InputError(f"'{name}' is no dialect of NIR; there are {', '.join(DIALECTS)}")
        dialect = DIALECTS[name]
    else:
        dialect = name
    if time_step is not None or reset is not None:
        dialect = replace(dialect, time_step=time_step or dialect.time_step, reset=reset or dialect.reset)
    if time_step == 0 or not (isfinite(dialect.time_step) and dialect.time_step > 0):
        given = "" if time_step is None else f" (got {time_step:g})"
        raise InputError(f"NIR has continuous time: give a positive time step, in the unit of its tau{given}")
    return dialect


def own_dialect(graph: Any, dialect: Dialect) -> Dialect:
    """The dialect that a graph which hmdf wrote has in its metadata, where "hmdf" is asked for."""
    if dialect is not DIALECTS["hmdf"]:
        return dialect
    metadata = getattr(graph, "metadata", None)
    words = str(metadata.get(WRITTEN, "") if isinstance(metadata, Mapping) else "").split(",")
    if len(words) != 2 or words[0] not in get_args(Reset) or words[1] not in ("above", "at"):
        raise InputError("hmdf did not write this graph: its metadata do not say how its steps are meant")
    return replace(dialect, reset=words[0], above=words[1] == "above")  # type: ignore[arg-type]


def dialect_from(text: str) -> Dialect:
    """The dialect that a program's metadata name as its network.

    Raises:
        InputError: the program was compiled from something else.
    """
    word = r"NIR (\S+) (euler|exponential) (value|subtract|subtract-later) above=(True|False) impulses=(True|False)"
    if (match := re.fullmatch(word, text)) is None:
        raise InputError("the program was not compiled from NIR")
    step, decay, reset, above, impulses = match.groups()
    return Dialect(float(step), decay, reset, above == "True", impulses == "True")  # type: ignore[arg-type]
