"""What a check has to say to the user: one problem or remark, with its place, its numbers and what to do about it."""

from __future__ import annotations

from typing import Literal

import msgspec

JSON_NAMES = {"where": "node", "problem": "message"}
"""Documents keep the names that they always had."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True, rename=JSON_NAMES):
    """One problem (`error`) or remark (`note`).

    Attributes:
        where: synapse, population, "input", "readout", "program", a module path, or what was asked for.
        problem: what is wrong, with the numbers.
        fix: the smallest change that helps, and its cost.
        severity: an error stops what was asked for, a note does not.
        resource: what is short, where something is: "message_bits", "cores", "shared memory" ...
        needed, available: in the unit of the resource; a feature's name and what there is instead.
        source: file and line of the user's code, where known.
    """

    where: str
    problem: str
    fix: str
    severity: Literal["error", "note"] = "error"
    resource: str = ""
    needed: int | str | None = None
    available: int | str | None = None
    source: str = ""

    def __str__(self) -> str:
        place = f"{self.where} ({self.source})" if self.source else self.where
        fix = f"; {self.fix}" if self.fix else ""
        return f"{place}: {self.problem}{fix}"
