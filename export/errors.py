"""The refusal of a network by the compiler."""

from __future__ import annotations

from collections.abc import Sequence

from hmdf.sim.errors import HmdfError
from hmdf.sim.finding import Finding


class CompileError(HmdfError):
    """The network cannot become a program; `findings` has every reason, `advice` what holds for all of them."""

    def __init__(self, findings: Sequence[Finding], advice: str = "") -> None:
        self.findings = tuple(findings)
        count = len(findings)
        head = "the network cannot be compiled" if count == 1 else f"the network cannot be compiled, {count} findings"
        super().__init__("\n".join([f"{head}:", *(f"  {finding}" for finding in findings), *([advice] * bool(advice))]))


class NarrowAccumulators(CompileError):  # noqa: N818 - what is wrong with the target
    """No messages are narrow enough for the target's accumulators; `findings` has that, and what else does not fit."""

    exit_code = 4
