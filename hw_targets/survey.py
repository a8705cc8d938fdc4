"""One program on many targets: what the table of targets is made of."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hmdf.sim.errors import DoesNotFit
from hmdf.sim.program import Program
from hmdf.sim.ranges import Ranges, prove

from .activity import Activity
from .cost import Estimate, estimate
from .fit import Finding, check
from .mapping import Mapping, map_program
from .target import Target


class Verdict(msgspec.Struct, frozen=True):
    """A program on one target.

    Fields:
        findings: empty when it fits on `chips` chips.
        mapping, estimate: None when some layer fits no core at all. With other findings they say what it would cost
            if those were mended, and must be shown as such.
    """

    target: str
    title: str
    findings: list[Finding]
    mapping: Mapping | None
    estimate: Estimate | None

    @property
    def fits(self) -> bool:
        return not self.findings


def survey(
    program: Program, targets: Iterable[Target], activity: Activity, chips: int = 1, ranges: Ranges | None = None
) -> list[Verdict]:
    """Fit, mapping and cost of a program on each target.

    Args:
        chips: how many chips of each may be used.
        ranges: the program's range proof if it is at hand.
    """
    proof = ranges or prove(program)
    return [_verdict(program, target, activity, chips, proof) for target in targets]


def _verdict(program: Program, target: Target, activity: Activity, chips: int, ranges: Ranges) -> Verdict:
    findings = check(program, target, chips, ranges)
    try:
        mapping = map_program(program, target, activity)
    except DoesNotFit:
        return Verdict(target.name, target.title, findings, None, None)
    return Verdict(target.name, target.title, findings, mapping, estimate(program, target, activity, mapping))
