"""The runs of the papers' tables, one after the other, each trained, compiled and simulated.

    make papers                              # the next that is not finished; again and again
    python -m experiments.papers --list      # all rows, and what each came to
    python -m experiments.papers --only hm-df-resnet18-cifar10 --epochs 30

rows.toml has the rows, with what the paper prints. A run that was stopped goes on where it was. With `--epochs` the
schedule is that much shorter, and its result says so. Results are in --out, one folder per row.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hmdf.sim.errors import InputError
from hmdf.sim.files import write_whole
from hmdf.tools.console import run_cli
from hmdf.tools.documents.files import read
from hmdf.tools.documents.run import Simulated

ROOT = Path(__file__).parents[2]
ROWS = Path(__file__).parent / "rows.toml"
DOES_NOT_FIT = 4
"""Exit code of hmdf-compile when the program is written but does not fit the chip."""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of a paper's table.

    Attributes:
        name: of the row and of its folder.
        source: the paper and its table.
        options: of hmdf-train, beside those of the device and the folders; {out} is the folder of all rows.
        hours: estimate of the training on one H100 (see rows.toml).
        printed: top-1 accuracy in percent, as the paper prints it; None where it prints none.
        compiled: whether it is a spiking network, which has a program.
    """

    name: str
    source: str
    options: str
    hours: float
    printed: float | None = None
    compiled: bool = True


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """rows.toml."""

    row: list[Row]


class RowResult(msgspec.Struct, frozen=True):
    """What a finished run came to; result.json.

    Attributes:
        epochs: trained; all of the row's, unless `--epochs` made it shorter.
        float_accuracy, integer_accuracy: of the network and of its program on the test split, in percent.
        sops: per sample.
        energy_pj: of a sample on Loihi 2, typical; None when it cannot be mapped, or, as the others, without a program.
        hours: of training, from metrics.csv.
        device: cpu or the GPU's name.
    """

    epochs: int
    float_accuracy: float
    integer_accuracy: float | None
    sops: float | None
    energy_pj: float | None
    hours: float
    device: str


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.option("--rows", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=ROWS, show_default=True)
@click.option("--only", metavar="NAME", help="This row instead of the next.")
@click.option("--epochs", type=click.IntRange(1), help="A schedule of this many epochs instead of the row's.")
@click.option("--samples", type=click.IntRange(1), help="Simulate only the first N test samples.")
@click.option("--device", default="cuda", show_default=True, help="--accelerator of hmdf-train.")
@click.option("--data-root", type=click.Path(path_type=Path), envvar="HMDF_DATA", help="Folder of the data sets.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/papers"), show_default=True)
@click.option("--list", "listed", is_flag=True, help="Run nothing: print the rows.")
def main(
    rows: Path,
    only: str | None,
    epochs: int | None,
    samples: int | None,
    device: str,
    data_root: Path | None,
    out: Path,
    listed: bool,
) -> None:
    known = read_rows(rows)
    results = {row.name: result_of(out / row.name) for row in known}
    if listed:
        print_rows(known, results)
        return
    if only is not None and only not in results:
        raise click.BadParameter(f"no row is called {only}; there are {', '.join(results)}", param_hint="--only")
    waiting = [row for row in known if (row.name == only if only else results[row.name] is None)]
    if not waiting:
        click.echo("every row is finished")
        return
    row = waiting[0]
    click.echo(f"{row.name}: {row.source}, about {row.hours:.2g} hours on one H100", err=True)
    shared = [] if data_root is None else ["--data-root", str(data_root)]
    result = run_row(row, out / row.name, epochs, samples, device, shared)
    write_whole(out / row.name / "result.json", msgspec.json.format(msgspec.json.encode(result), indent=1))
    print_rows([row], {row.name: result})


def read_rows(path: Path) -> list[Row]:
    """Raises InputError if the file is no list of rows, or two have one name."""
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=Rows).row
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}") from None
    names = [row.name for row in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: two rows are called {twice[0]}")
    return found


def result_of(folder: Path) -> RowResult | None:
    path = folder / "result.json"
    return msgspec.json.decode(path.read_bytes(), type=RowResult) if path.exists() else None


def run_row(
    row: Row, folder: Path, epochs: int | None, samples: int | None, device: str, shared: list[str]
) -> RowResult:
    shorter = [] if epochs is None else ["--epochs", str(epochs)]
    options = row.options.format(out=folder.parent).split()
    device_and_folder = [*shared, "--accelerator", device, "--resume", "--out", str(folder)]
    call("train", *options, *shorter, *device_and_folder)
    with open(folder / "metrics.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    hours = sum(float(line["seconds"]) for line in lines) / 3600
    if not row.compiled:
        accuracy = 100 * float(lines[-1]["test_accuracy"])
        return RowResult(len(lines), accuracy, None, None, None, hours, name_of(device))
    model, program, document = folder / "model.pt", folder / "model.hmdf", folder / "out.json"
    call("compile", str(model), "--emit", "hmdf", "--out", str(folder), *shared, allowed=(0, DOES_NOT_FIT))
    few = [] if samples is None else ["--samples", str(samples)]
    call("sim", str(program), "--against", str(model), "--json", str(document), "--target", "loihi2", *few, *shared)
    simulated = read(document, Simulated)
    both, energy = simulated.accuracy, simulated.targets[0].energy_pj
    if both.floating is None or both.integer is None:
        raise InputError(f"{document}: no accuracies; are the samples labelled?")
    return RowResult(
        epochs=len(lines),
        float_accuracy=100 * both.floating,
        integer_accuracy=100 * both.integer,
        sops=simulated.sops.per_sample,
        energy_pj=None if energy is None else energy.typical,
        hours=hours,
        device=name_of(device),
    )


def call(tool: str, *arguments: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Run a command of hmdf; one that fails ends this one, with its exit code, when it has said why."""
    command = [sys.executable, "-m", f"hmdf.tools.{tool}", *arguments]
    click.echo(f"{time.strftime('%H:%M:%S')} hmdf-{tool} {' '.join(arguments)}", err=True)
    code = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode
    if code not in allowed:
        raise click.exceptions.Exit(code)


def name_of(device: str) -> str:
    if device == "cpu":
        return device
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else device


def print_rows(rows: list[Row], results: dict[str, RowResult | None]) -> None:
    table = Table("row", "source", title="Runs of the papers")
    for title in ("printed, %", "float, %", "integer, %", "SOPs", "uJ, Loihi 2", "epochs", "hours, estimate", "hours"):
        table.add_column(title, justify="right")
    for row in rows:
        result = results[row.name]
        figures = ["", "", "", "", "", f"{row.hours:.2g}", ""]
        if result is not None:
            figures = [
                f"{result.float_accuracy:.2f}",
                "" if result.integer_accuracy is None else f"{result.integer_accuracy:.2f}",
                "" if result.sops is None else f"{result.sops / 1e6:.1f} M",
                "" if result.energy_pj is None else f"{result.energy_pj / 1e6:,.0f}",
                str(result.epochs),
                f"{row.hours:.2g}",
                f"{result.hours:.2g} ({result.device})",
            ]
        table.add_row(row.name, row.source, "" if row.printed is None else f"{row.printed:.2f}", *figures)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


if __name__ == "__main__":
    run_cli(main)
