"""One program on many targets: what the table of targets is made of."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hmdf.sim.errors import DoesNotFit
from hmdf.sim.finding import Finding
from hmdf.sim.program import Program

from .events import EventCounts
from .footprint import Footprint, Measure
from .judge.fit import check
from .place.mapping import Mapping, map_program
from .price.cost import Estimate, estimate
from .schema import Target


class OnTarget(msgspec.Struct, frozen=True):
    """A program on one target.

    Attributes:
        findings: empty when it fits on `chips` chips.
        mapping, estimate: None when some layer fits no core at all. With other findings they say what it would cost
            if those were fixed, and must be shown as such.
        footprint: on a microcontroller, where it was measured.
    """

    target: str
    title: str
    findings: list[Finding]
    mapping: Mapping | None
    estimate: Estimate | None
    footprint: Footprint | None = None

    @property
    def fits(self) -> bool:
        return not self.findings


def on_targets(
    program: Program, targets: Iterable[Target], events: EventCounts, chips: int = 1, measure: Measure | None = None
) -> list[OnTarget]:
    """Fit, mapping and cost of a program on `chips` chips of each target.

    Args:
        measure: called with each microcontroller; without it only what its core can compute is judged.
    """
    return [_on_target(program, target, events, chips, measure) for target in targets]


def _on_target(program: Program, target: Target, events: EventCounts, chips: int, measure: Measure | None) -> OnTarget:
    findings, footprint = check(program, target, chips), None
    if measure is not None and target.processor is not None:
        footprint, misfits = measure(target)
        findings = findings + misfits
    try:
        mapping = map_program(program, target, events)
    except DoesNotFit:
        return OnTarget(target.name, target.title, findings, None, None, footprint)
    return OnTarget(target.name, target.title, findings, mapping, estimate(program, target, events, mapping), footprint)
