"""Programs on microcontrollers, for the commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from hmdf.hw_targets.footprint import Footprint, Measure
from hmdf.hw_targets.schema import Target
from hmdf.sim.finding import Finding
from hmdf.sim.program import Program


def microcontrollers(program: Program, messages: Callable[[int], NDArray[Any]] | None = None) -> Measure:
    """What `on_targets` asks about a microcontroller.

    Args:
        messages: gives the first encoded samples, to be run in QEMU.
    """

    def measured(target: Target) -> tuple[Footprint, list[Finding]]:
        from hmdf.export.c import cortex

        return cortex.measure(program, target, None if messages is None else messages(cortex.SAMPLES))

    return measured
