"""What the compiler has to say to the user: all findings at once, each with its place and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hmdf.sim.errors import HmdfError


@dataclass(frozen=True)
class Finding:
    """One problem (`error`) or remark (`note`).

    Fields:
        severity: an error stops the compilation, a note does not.
        where: module path, node or resource.
        problem: what is wrong, with the numbers.
        remedy: what to change.
        source: file and line of the user's code, where known.
    """

    severity: Literal["error", "note"]
    where: str
    problem: str
    remedy: str = ""
    source: str = ""

    def __str__(self) -> str:
        place = f"{self.where} ({self.source})" if self.source else self.where
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{place}: {self.problem}{remedy}"


class CompileError(HmdfError):
    """The network cannot become a program; `findings` has every reason, `advice` what holds for all of them."""

    def __init__(self, findings: list[Finding], advice: str = "") -> None:
        self.findings = tuple(findings)
        count = len(findings)
        head = "the network cannot be compiled" if count == 1 else f"the network cannot be compiled, {count} findings"
        super().__init__("\n".join([f"{head}:", *(f"  {finding}" for finding in findings), *([advice] * bool(advice))]))
