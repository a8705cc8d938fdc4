"""A program with another number of time-steps than it was made for."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import numpy as np

from .contract import Population, Synapse
from .contract.parameters import Parameter, fields_of
from .errors import ProgramError
from .finding import Finding
from .program import Program

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def with_steps(program: Program, steps: int) -> Program:
    """The program that takes `steps` time-steps; the logits are the sum over these.

    Of fewer steps than the program's T, every message, state and accumulator is that of the whole program, bit for
    bit: a step depends on earlier ones only. More steps go on in the same way, which needs parameters that are the same
    at every step. A framed input has `steps` frames then.

    Raises:
        ProgramError: more than T steps of a program whose parameters change (see `changing`), or no number of steps.
    """
    if steps == program.time_steps:
        return program
    if steps > program.time_steps and (findings := changing(program)):
        first = f"'{findings[0].where}': {findings[0].problem}"
        more = f" ({len(findings)} populations)" if len(findings) > 1 else ""
        raise ProgramError(f"{steps} time-steps of a program that has {program.time_steps}: {first}{more}")
    rows = steps if steps < program.time_steps else 1
    nodes = tuple(n if isinstance(n, Synapse) else _population(n, rows) for n in program.nodes)
    return msgspec.structs.replace(program, time_steps=steps, nodes=nodes)


def changing(program: Program) -> list[Finding]:
    """Why a program has no more steps than its T: each population whose parameters are learned for each step."""
    findings = []
    for population in program.populations:
        if names := [e.what for e in population.parameters() if len(e.array) > 1 and np.any(e.array != e.array[0])]:
            problem = f"its {', '.join(names)} change from step to step, and there are {program.time_steps}"
            fix = f"run {program.time_steps} steps at most, or train neurons with one parameter for all (lm-h)"
            findings.append(Finding(population.name, problem, fix, resource="time_steps"))
    return findings


def _population(population: Population, rows: int) -> Population:
    return msgspec.structs.replace(
        _cut(population, rows),
        ports=tuple(_cut(port, rows) for port in population.ports),
        gate=None if population.gate is None else _cut(population.gate, rows),
        dynamics=_cut(population.dynamics, rows),
    )


def _cut(struct: _Struct, rows: int) -> _Struct:
    """With the first rows of each (T or 1, C or 1) parameter; one row for all steps stays as it is."""
    cut = {name: value[:rows] for name, kind, value in fields_of(struct) if isinstance(kind, Parameter)}
    return msgspec.structs.replace(struct, **cut)
