"""Fewer time-steps than a network was trained with."""

from __future__ import annotations

from hmdf.sim.program import Program
from hmdf.sim.steps import with_steps


def first_steps(program: Program, steps: int) -> Program:
    """The program that stops after the first `steps` of its T time-steps, as `with_steps` has it.

    Raises:
        ValueError: `steps` is not in 1..T.
    """
    if not 1 <= steps <= program.time_steps:
        raise ValueError(f"steps must be in 1..{program.time_steps} (got {steps})")
    return with_steps(program, steps)
