"""hmdf-report: everything about a compiled network on one page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from hmdf.hw_targets.schema import Target
from hmdf.hw_targets.target import load_target, target_names
from hmdf.sim import storage
from hmdf.sim.errors import InputError
from hmdf.sim.files import write_whole
from hmdf.sim.program import Program

from .console import progress, run_cli
from .documents.files import read_of
from .documents.report import Report
from .documents.run import Compiled, Simulated
from .inputs import targets_of
from .reporting.assemble import assemble
from .reporting.html.page import page
from .reporting.markdown import markdown


@click.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.argument("measured", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write [default: standard output].")
@click.option("--format", "form", type=click.Choice(["html", "json", "markdown"]), default="html", show_default=True)
@click.option("--target", help="The chip, or a .toml that describes one [default: the one it was compiled for].")
@click.option("--compare", metavar="LIST", default="all", show_default=True, help="Targets to compare it with.")
@click.option(
    "--chips", type=click.IntRange(1), default=1, show_default=True, help="Chips of a target that may be used."
)
def report_command(
    build: Path, measured: Path | None, out: Path | None, form: str, target: str | None, compare: str, chips: int
) -> None:
    """Report on the folder BUILD that hmdf-compile wrote, with the numbers MEASURED by hmdf-sim --json.

    MEASURED is BUILD/out.json if not given. HTML is one self-contained file.
    """
    model = build / "model.hmdf"
    program = storage.load(model)
    source = measured or build / "out.json"
    numbers = read_of(source, Simulated, program)
    beside = build / "report.json"
    compiled = read_of(beside, Compiled, program) if beside.exists() else None
    files = [model, source, *([beside] if compiled is not None and beside != source else [])]
    targets = _targets(program, target, compare)
    with progress("targets", len(targets)) as advance:
        document = assemble(program, numbers, targets, chips, files, compiled, advance)
    text = FORMS[form](document)
    if out is None:
        sys.stdout.write(text)
    else:
        write_whole(out, text.encode())


def _targets(program: Program, name: str | None, compare: str) -> list[Target]:
    """The target of the report, then the others to compare it with."""
    first = name or program.metadata.target or "generic"
    if name is None and first not in target_names():
        raise InputError(
            f"the program was compiled for '{first}', which is not a shipped target: give its file as --target"
        )
    chosen = load_target(first)
    others = targets_of(compare) if compare.strip() not in ("", "none") else []
    return [chosen, *(other for other in others if other.name != chosen.name)]


def _json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"


FORMS: dict[str, Callable[[Report], str]] = {"html": page, "json": _json, "markdown": markdown}


def main() -> None:
    """Entry point of hmdf-report."""
    run_cli(report_command)


if __name__ == "__main__":
    main()
