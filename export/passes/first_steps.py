"""Fewer time-steps than a network was trained with."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from hmdf.sim.contract import Population, Synapse
from hmdf.sim.contract.parameters import Parameter, fields_of
from hmdf.sim.program import Program

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def first_steps(program: Program, steps: int) -> Program:
    """The program that stops after the first `steps` of its T time-steps.

    No integer changes: each parameter that differs from step to step keeps its first rows, the logits are the sum over
    these steps. A step depends on earlier ones only, so every message, state and accumulator of step t < `steps` is
    that of the whole program, bit for bit. A framed input shows its first `steps` frames.

    Raises:
        ValueError: `steps` is not in 1..T.
    """
    whole = program.time_steps
    if not 1 <= steps <= whole:
        raise ValueError(f"steps must be in 1..{whole} (got {steps})")
    if steps == whole:
        return program
    nodes = tuple(n if isinstance(n, Synapse) else _population(n, steps) for n in program.nodes)
    return msgspec.structs.replace(program, time_steps=steps, nodes=nodes)


def _population(population: Population, steps: int) -> Population:
    return msgspec.structs.replace(
        _cut(population, steps),
        ports=tuple(_cut(port, steps) for port in population.ports),
        gate=None if population.gate is None else _cut(population.gate, steps),
        dynamics=_cut(population.dynamics, steps),
    )


def _cut(struct: _Struct, steps: int) -> _Struct:
    """With the first rows of each (T or 1, C or 1) parameter; one row for all steps stays as it is."""
    rows = {name: value[:steps] for name, kind, value in fields_of(struct) if isinstance(kind, Parameter)}
    return msgspec.structs.replace(struct, **rows)
