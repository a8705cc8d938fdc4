"""Whether a program fits its target, for the user: every finding at once, each with its fix."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import NoReturn

from rich.console import Console

from hmdf.hw_targets.schema import Target
from hmdf.sim.errors import DoesNotFit
from hmdf.sim.finding import Finding

INDENT = "    "


def refuse(screen: Console, findings: Sequence[Finding], target: Target) -> NoReturn:
    """Print findings and end with the exit code of a program that does not fit.

    Raises:
        DoesNotFit: always.
    """
    screen.print(f"\ndoes not fit {target.title}", style="bold")
    for number, found in enumerate(findings, start=1):
        amounts = f"needed {_amount(found.needed)}, available {_amount(found.available)}"
        screen.print(f"{number}. {found.where}: {found.resource}, {amounts}", soft_wrap=True)
        for line in (found.problem, f"fix: {found.fix}"):
            screen.print(fill(line, screen.width, initial_indent=INDENT, subsequent_indent=INDENT), soft_wrap=True)
    count = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    raise DoesNotFit(f"the program does not fit {target.title}: {count} above; nothing was written")


def _amount(value: int | str | None) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
