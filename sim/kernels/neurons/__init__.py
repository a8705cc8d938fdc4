"""What the neurons of a tile do with their currents: a file for each kind of the contract, by the same name, with its
narrow and its wide form.

Each file has two kernels (population, model, tile, t, scratch) that update
the states and put what is sent, before the limits of the message, in the place of the current; they return the number
of limited states. `fire` works in 32-bit lanes on `scratch.current32`, `v32`, `d32`, and is None for a kind that has no
such form; `fire_wide` works in 64 bits on `scratch.current`, `v`, `d`. The fields of a kind are those of its struct.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, get_args

from ...contract import Dynamics
from ..compiling import inlined, kernel

_KINDS = tuple(import_module(f".{kind.kind()}", __name__) for kind in get_args(Dynamics))
NUMBERS: dict[type[Dynamics], int] = {kind: number for number, kind in enumerate(get_args(Dynamics))}
"""How the tables name a kind."""
READOUT = len(_KINDS)
"""In the place of a kind: the read-out, which only adds up."""


def has_narrow_form(dynamics: Dynamics) -> bool:
    """Whether a kind can run in 32-bit lanes."""
    return _KINDS[NUMBERS[type(dynamics)]].fire is not None


def _chain(form: str) -> Callable[..., Any]:
    """One kernel that runs the form of the population's own kind: compiled code cannot look functions up."""

    @kernel
    def run(population, model, tile, t, scratch):
        return 0

    for number, kind in enumerate(_KINDS):
        if (fire := getattr(kind, form)) is not None:
            run = _linked(number, fire, run)
    return run


def _linked(number: int, fire: Callable[..., Any], others: Callable[..., Any]) -> Callable[..., Any]:
    @inlined
    def run(population, model, tile, t, scratch):
        if population.dynamics == number:
            return fire(population, model, tile, t, scratch)
        return others(population, model, tile, t, scratch)

    return run


fire = _chain("fire")
"""The narrow form of the population's kind."""
fire_wide = _chain("fire_wide")
"""The wide form of the population's kind."""
