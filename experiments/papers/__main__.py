"""The runs of the papers' tables, one after the other, each trained, compiled and simulated.

    make papers                              # the next that is not finished; again and again
    python -m experiments.papers --list      # all rows with their commands, and what each came to
    python -m experiments.papers --only hm-df-resnet18-cifar10 --epochs 30

rows.toml has the rows, with what the paper prints. A row whose data set, or whose ANN, is not here is passed over, and
said. A run that was stopped goes on where it was. With `--epochs` the schedule is that much shorter: a run of its own,
beside which the row still waits for all of its epochs. Checkpoints are in --out, a folder per run; what each run came
to is kept in --results, which belongs into the repository.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from hmdf.sim.errors import InputError
from hmdf.sim.files import write_whole
from hmdf.tools.console import run_cli
from hmdf.tools.documents.files import read
from hmdf.tools.documents.run import Simulated
from hmdf.tools.train import train_command
from hmdf.train.config import RunConfig, read_config
from hmdf.train.data import load
from hmdf.train.errors import DataError

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
DOES_NOT_FIT = 4
"""Exit code of hmdf-compile when the program is written but does not fit the chip."""
PUBLISHED = {
    "cifar10": (10, 50_000, 10_000),
    "cifar100": (100, 50_000, 10_000),
    "tiny-imagenet": (200, 100_000, 10_000),
    "imagenet": (1000, 1_281_167, 50_000),
    "dvs-cifar10": (10, 9_000, 1_000),
}
"""Classes, training and test samples: the figures of a table are of all of them."""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of a paper's table.

    Attributes:
        name: of the row and of its folder.
        source: the paper and its table, and what differs.
        options: of hmdf-train, beside those of the device and the folders; {out} is the folder of all rows.
        hours: estimate of the training on one H100 that never waits for data (see rows.toml).
        processor_hours: of one processor core, to read and augment the mini-batches (see rows.toml).
        printed: top-1 accuracy in percent, as the paper prints it; None where it prints none.
        compiled: whether it is a spiking network, which has a program.
    """

    name: str
    source: str
    options: str
    hours: float
    processor_hours: float
    printed: float | None = None
    compiled: bool = True

    def expected(self, workers: int) -> float:
        """Hours of training with that many processes that make mini-batches ahead."""
        return max(self.hours, self.processor_hours / workers) if workers else self.hours + self.processor_hours


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """rows.toml."""

    row: list[Row]


class Plan(NamedTuple):
    """What a row's options come to: data set, epochs, and the file of the ANN that it goes on from."""

    data: str
    epochs: int
    ann: Path | None


class RowResult(msgspec.Struct, frozen=True):
    """What a finished run came to; an entry of results.json.

    Attributes:
        row: its name.
        epochs, of_epochs: trained, and those of the row.
        float_accuracy, integer_accuracy: of the network and of its program on the test split, in percent.
        sops: per sample, as counted here, pools and classifier included.
        hm_df_sops, hm_df_energy_pj: per sample, as HM-DF counts (docs/counters.md): to compare with what it prints.
        energy_pj: of a sample on Loihi 2, typical; None when it cannot be mapped, or, as the others, without a program.
        hours: of training, from metrics.csv.
        device: cpu or the GPU's name.
    """

    row: str
    epochs: int
    of_epochs: int
    float_accuracy: float
    integer_accuracy: float | None
    sops: float | None
    hm_df_sops: float | None
    hm_df_energy_pj: float | None
    energy_pj: float | None
    hours: float
    device: str


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.option("--rows", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=HERE / "rows.toml")
@click.option("--results", type=click.Path(path_type=Path, dir_okay=False), default=HERE / "results.json")
@click.option("--only", metavar="NAME", help="This row instead of the next.")
@click.option("--epochs", type=click.IntRange(1), help="A schedule of this many epochs instead of the row's.")
@click.option("--samples", type=click.IntRange(1), help="Simulate only the first N test samples.")
@click.option("--device", default="cuda", show_default=True, help="--accelerator of hmdf-train.")
@click.option(
    "--workers", type=click.IntRange(0), help="--workers of hmdf-train  [default: all cores but two; 0 on a CPU]"
)
@click.option("--data-root", type=click.Path(path_type=Path), envvar="HMDF_DATA", help="Folder of the data sets.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/papers"), show_default=True)
@click.option("--list", "listed", is_flag=True, help="Run nothing: print the rows.")
def main(
    rows: Path,
    results: Path,
    only: str | None,
    epochs: int | None,
    samples: int | None,
    device: str,
    workers: int | None,
    data_root: Path | None,
    out: Path,
    listed: bool,
) -> None:
    known, found = read_rows(rows), read_results(results)
    if workers is None:
        workers = 0 if device == "cpu" else max(1, len(os.sched_getaffinity(0)) - 2)
    if listed:
        print_rows(known, found, out, workers)
        return
    names = [row.name for row in known]
    if only is not None and only not in names:
        raise click.BadParameter(f"no row is called {only}; there are {', '.join(names)}", param_hint="--only")
    passed_over = 0
    for row in known if only is None else [known[names.index(only)]]:
        plan = plan_of(row, out)
        wanted = plan.epochs if epochs is None else min(epochs, plan.epochs)
        if only is None and any(result.row == row.name and result.epochs >= wanted for result in found):
            continue
        if lack := lacking(plan, data_root):
            if only is not None:
                raise InputError(f"{row.name}: {lack}")
            click.echo(f"{row.name}: passed over: {lack}", err=True)
            passed_over += 1
            continue
        hours = row.expected(workers) * wanted / plan.epochs
        click.echo(f"{row.name}: {row.source}, about {hours:.2g} hours on one H100, {workers} workers", err=True)
        folder = out / (row.name if wanted == plan.epochs else f"{row.name}-{wanted}-epochs")
        shared = [] if data_root is None else ["--data-root", str(data_root)]
        chosen = ["--epochs", str(wanted), "--accelerator", device, "--workers", str(workers)]
        made = run_row(row, plan, folder, out, chosen, samples, shared, device)
        kept = [old for old in read_results(results) if (old.row, old.epochs) != (made.row, made.epochs)]
        kept = sorted([*kept, made], key=lambda r: (names.index(r.row) if r.row in names else len(names), r.epochs))
        write_whole(results, msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
        print_rows([row], [made], out, workers)
        return
    click.echo(f"nothing to run: {passed_over} rows lack something" if passed_over else "every row is finished")


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


def read_results(path: Path) -> list[RowResult]:
    """Those of the runs that are finished; raises InputError if the file is no list of results."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[RowResult])
    except FileNotFoundError:
        return []
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}") from None


def plan_of(row: Row, out: Path) -> Plan:
    """As hmdf-train reads the row's options."""
    with train_command.make_context("hmdf-train", [*options_of(row, out), "--out", "x"]) as context:
        given = context.params
        settings = RunConfig() if given["config"] is None else read_config(given["config"])
        epochs = given["epochs"]
        if context.get_parameter_source("epochs") is not ParameterSource.COMMANDLINE:
            epochs = settings.training.get("epochs", epochs)
    return Plan(given["data"] or settings.data or "", epochs, given["ann"])


def options_of(row: Row, out: Path) -> list[str]:
    return row.options.format(out=out).split()


def lacking(plan: Plan, root: Path | None) -> str | None:
    """What a row cannot be trained without, in words: its ANN, its data, or a part of them."""
    if plan.ann is not None and not plan.ann.is_file():
        return f"{plan.ann} is not there: the row of its ANN comes first"
    return lacking_data(plan.data, root)


@cache
def lacking_data(name: str, root: Path | None) -> str | None:
    published = PUBLISHED.get(name.partition(":")[0])
    try:
        test = load(name, "test", root)
        found = len(test.class_names), len(load(name, "train", root)), len(test)
    except DataError as error:
        return str(error)
    if published is None or found == published:
        return None
    here, there = (f"{classes} classes, {train:,} + {test:,} samples" for classes, train, test in (found, published))
    return f"{name} has {here}; published are {there}"


def run_row(
    row: Row,
    plan: Plan,
    folder: Path,
    out: Path,
    chosen: list[str],
    samples: int | None,
    shared: list[str],
    device: str,
) -> RowResult:
    call("train", *options_of(row, out), *chosen, *shared, "--resume", "--out", str(folder))
    with open(folder / "metrics.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    trained = RowResult(
        row=row.name,
        epochs=int(lines[-1]["epoch"]),  # a converted network has a line for epoch 0, before training
        of_epochs=plan.epochs,
        float_accuracy=100 * float(lines[-1]["test_accuracy"]),
        integer_accuracy=None,
        sops=None,
        hm_df_sops=None,
        hm_df_energy_pj=None,
        energy_pj=None,
        hours=sum(float(line["seconds"]) for line in lines) / 3600,
        device=name_of(device),
    )
    if not row.compiled:
        return trained
    model, program, document = folder / "model.pt", folder / "model.hmdf", folder / "out.json"
    call("compile", str(model), "--emit", "hmdf", "--out", str(folder), *shared, allowed=(0, DOES_NOT_FIT))
    few = [] if samples is None else ["--samples", str(samples)]
    call("sim", str(program), "--against", str(model), "--json", str(document), "--target", "loihi2", *few, *shared)
    simulated = read(document, Simulated)
    both, energy = simulated.accuracy, simulated.targets[0].energy_pj
    if both.floating is None or both.integer is None:
        raise InputError(f"{document}: no accuracies; are the samples labelled?")
    [hm_df] = [count for count in simulated.literature.conventions if count.name == "hm_df"]
    return msgspec.structs.replace(
        trained,
        float_accuracy=100 * both.floating,
        integer_accuracy=100 * both.integer,
        sops=simulated.sops.per_sample,
        hm_df_sops=hm_df.sops,
        hm_df_energy_pj=hm_df.energy_pj,
        energy_pj=None if energy is None else energy.typical,
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


def print_rows(rows: list[Row], results: list[RowResult], out: Path, workers: int) -> None:
    table = Table("row", "source", "command", title="Runs of the papers")
    titles = "printed, %", "float, %", "integer, %", "SOPs, HM-DF", "uJ, HM-DF", "SOPs", "uJ, Loihi 2", "epochs"
    for title in (*titles, "hours, expected", "hours"):
        table.add_column(title, justify="right")
    for row in rows:
        printed = "" if row.printed is None else f"{row.printed:.2f}"
        about = row.name, row.source, " ".join(["hmdf-train", *options_of(row, out)]), printed
        runs = [figures_of(result) for result in results if result.row == row.name] or [[""] * 9]
        for *figures, hours in runs:
            table.add_row(*about, *figures, f"{row.expected(workers):.2g}", hours)
    Console(width=None if sys.stdout.isatty() else 240).print(table)


def figures_of(result: RowResult) -> list[str]:
    figures: Iterator[tuple[float | None, float, str]] = iter(
        [
            (result.float_accuracy, 1, ".2f"),
            (result.integer_accuracy, 1, ".2f"),
            (result.hm_df_sops, 1e6, ",.1f"),
            (result.hm_df_energy_pj, 1e6, ",.1f"),
            (result.sops, 1e6, ",.1f"),
            (result.energy_pj, 1e6, ",.0f"),
        ]
    )
    shown = ["" if value is None else f"{value / size:{form}}" for value, size, form in figures]
    shown[2::2] = [f"{sops} M" if sops else "" for sops in shown[2::2]]
    epochs = str(result.epochs) if result.epochs >= result.of_epochs else f"{result.epochs} of {result.of_epochs}"
    return [*shown, epochs, f"{result.hours:.2g} ({result.device})"]


if __name__ == "__main__":
    run_cli(main)
