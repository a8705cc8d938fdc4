"""Tables, JSON and plots of what the ablation has finished."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import click
import msgspec
from rich.console import Console
from rich.table import Table

from experiments.ablation import plots
from experiments.ablation.rows import BASE, ROWS, Budget, Record, records
from hmdf.sim.files import write_whole
from hmdf.tools.text import significant

Records = dict[str, dict[int, Record]]
"""By row and seed."""
Cells = list[list[str]]


class Column(NamedTuple):
    """A figure of a Record, shown in multiples of `size`; compared with the base's as "points" (the difference) or as
    "ratio". Those that are not shown are in the JSON alone.
    """

    key: str
    title: str
    unit: str
    size: float
    compared: str = "ratio"
    shown: bool = True

    def of(self, record: Record) -> float:
        return getattr(record, self.key) / self.size

    def change(self, record: Record, base: Record) -> float:
        there, here = self.of(base), self.of(record)
        return here - there if self.compared == "points" else here / there


COLUMNS = (
    Column("float_accuracy", "float", "%", 0.01, "points"),
    Column("integer_accuracy", "integer", "%", 0.01, "points"),
    Column("sops", "SOPs", "M", 1e6),
    Column("hm_df_sops", "SOPs as HM-DF", "M", 1e6),
    Column("conventional_sops", "SOPs as Spikformer", "M", 1e6),
    Column("macs", "MACs", "M", 1e6, shown=False),
    Column("energy_pj", "energy", "uJ", 1e6),
    Column("weight_bytes", "weights", "kB", 1e3, shown=False),
    Column("conventional_weight_bytes", "weights as papers", "kB", 1e3, shown=False),
    Column("seconds_per_epoch", "time", "s/epoch", 1.0),
    Column("peak_bytes", "memory", "MiB", 2**20),
)
SHOWN = [column for column in COLUMNS if column.shown]


def report(folder: Path, budget: Budget, markdown: bool) -> None:
    """Print the tables; write FOLDER.json and the plots in FOLDER."""
    found: Records = {}
    for record in records(folder):
        found.setdefault(record.row, {})[record.seed] = record
    if not found:
        click.echo("no run is finished", err=True)
        return
    lines = headline(budget, found), *warnings(found)
    show(("values", values(found)), ("change against base, seed by seed", changes(found)), lines, markdown)
    path = folder.with_suffix(".json")
    write_whole(path, (json.dumps(summary(budget, found), indent=1) + "\n").encode())
    drawn = plots.draw(found, {c.key: c for c in COLUMNS}, folder)
    click.echo(f"wrote {', '.join(map(str, [path, *drawn]))}", err=True)


def headline(budget: Budget, found: Records) -> str:
    one = next(iter(found[next(iter(found))].values()))
    data = budget.data if budget.pixels is None else f"{budget.data} at {budget.pixels} x {budget.pixels} pixels"
    return (
        f"{budget.net} of width {budget.width}, T = {budget.time_steps}, {data}: {budget.epochs} epochs of "
        f"{one.training_samples:,} images in mini-batches of {budget.batch_size}, {budget.optimizer}; float accuracy "
        f"on {one.test_samples:,} test images, everything of the integer program on {one.integer_samples:,}"
    )


def warnings(found: Records) -> Iterable[str]:
    """What a reader must know before comparing."""
    every = [record for runs in found.values() for record in runs.values()]
    if len({trainer for record in every for trainer in record.trainers}) > 1:
        yield "not all were trained by the same version of the trainer: times and memory do not compare"
    if len({record.machine["processor"] for record in every}) > 1:
        yield "not all ran on the same kind of processor: times do not compare"


# ------------------------------------------------------------------------------- tables


def values(found: Records) -> Cells:
    head = ["row", "seeds", *(f"{column.title} ({column.unit})" for column in SHOWN)]
    body = [
        [row, str(len(runs)), *(value_cell([c.of(r) for r in runs.values()], c) for c in SHOWN)]
        for row, runs in found.items()
    ]
    return [head, *body]


def changes(found: Records) -> Cells:
    """Against the base of the same seed; rows and seeds that have none are left out."""
    head = ["row", "what changes", *(column.title for column in SHOWN)]
    body = []
    for row in found:
        pairs = paired(found, row)
        if pairs:
            body.append([row, ROWS[row].about, *(change_cell([c.change(*p) for p in pairs], c) for c in SHOWN)])
    return [head, *body]


def paired(found: Records, row: str) -> list[tuple[Record, Record]]:
    """(record, the base's) of every seed that both have; none for the base itself."""
    base = found.get(BASE, {})
    return [] if row == BASE else [(record, base[seed]) for seed, record in found[row].items() if seed in base]


def value_cell(numbers: list[float], column: Column) -> str:
    """Accuracies with two decimals, all others with three significant digits."""
    middle = f"{mean(numbers):.2f}" if column.compared == "points" else significant(mean(numbers))
    return with_half_range(middle, numbers)


def change_cell(numbers: list[float], column: Column) -> str:
    middle = mean(numbers)
    return with_half_range(f"{middle:+.2f}" if column.compared == "points" else f"x{middle:.2f}", numbers)


def with_half_range(middle: str, numbers: list[float]) -> str:
    """The mean as it is, and half of the range with as many decimals where there are several numbers."""
    decimals = len(middle.partition(".")[2])
    return middle if len(numbers) == 1 else f"{middle} +- {half_range(numbers):,.{decimals}f}"


def half_range(numbers: list[float]) -> float:
    return (max(numbers) - min(numbers)) / 2


def show(one: tuple[str, Cells], other: tuple[str, Cells], lines: Iterable[str], markdown: bool) -> None:
    screen = Console(width=None if Console().is_terminal else 200, highlight=False, markup=False)
    for line in lines:
        screen.print(line, soft_wrap=True)
    for title, (head, *body) in (one, other):
        if not body:
            continue
        if markdown:
            rule = ["---"] * 2 + ["---:"] * (len(head) - 2)
            click.echo("\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *body]))
            continue
        grid = Table(title=title, title_justify="left")
        for index, name in enumerate(head):
            grid.add_column(name, justify="left" if index < 2 else "right")
        for cells in body:
            grid.add_row(*cells)
        screen.print(grid)


# --------------------------------------------------------------------------------- JSON


def summary(budget: Budget, found: Records) -> dict[str, Any]:
    """Means and half ranges of the rows and of their changes, and every record."""
    rows = {}
    for row, runs in found.items():
        pairs = paired(found, row)
        rows[row] = {
            "about": ROWS[row].about,
            "seeds": list(runs),
            "values": {c.key: spread([getattr(r, c.key) for r in runs.values()]) for c in COLUMNS},
            "changes": {c.key: spread([c.change(*pair) for pair in pairs]) for c in COLUMNS} if pairs else None,
        }
    every = [msgspec.to_builtins(record) for runs in found.values() for record in runs.values()]
    compared = {column.key: column.compared for column in COLUMNS}
    about = {"headline": headline(budget, found), "warnings": list(warnings(found)), "compared": compared}
    return {"budget": msgspec.to_builtins(budget), **about, "rows": rows, "runs": every}


def spread(numbers: list[float]) -> dict[str, Any]:
    return {"mean": mean(numbers), "half_range": half_range(numbers), "by_seed": numbers}
