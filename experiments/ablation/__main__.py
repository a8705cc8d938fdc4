"""What each part of an HM-DF network is worth: variants trained under one equal budget, then run as integers.

    python -m experiments.ablation --jobs 2

The rows (rows.py): those of figure 3 of arXiv 2410.07547, and each switch of the family alone. Every run is
a process of its own on one thread. What is finished is kept in --out, one file per run; the same command goes on
where the last one was stopped, in the middle of a training too. At the end, and with --table alone, there are tables,
`ablation.json` beside the folder, and two plots in it.

Training time is processor time of the process; memory is the most that was resident while training, less what was
resident before (data and libraries). Two runs at once share the caches and the memory of one machine, so that both
times come out longer than alone: compare times of runs made with the same --jobs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from experiments.ablation.rows import ROWS, Budget, budget_path, read_budget, read_record
from experiments.ablation.table import report
from hmdf.sim.files import write_whole
from hmdf.train.config import TrainingConfig

ROOT = Path(__file__).parents[2]
OUT = Path("build/ablation")
SEEDS = 2
POLL = 0.5
"""Seconds between two looks at the running processes."""
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
DEFAULT = Budget()


def _option(name: str, kind: Any, text: str) -> Any:
    """An option of the budget, with the budget's default."""
    default = getattr(DEFAULT, name.removeprefix("--").replace("-", "_"))
    return click.option(name, type=kind, default=default, show_default=default is not None, help=text)


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@_option("--data", str, "Data set by name, or an .npz.")
@_option("--net", str, "Network of the registry.")
@_option("--width", click.IntRange(1), "Channels of the first stage.")
@_option("--time-steps", click.IntRange(1), "T.")
@_option("--epochs", click.IntRange(1), "")
@_option("--batch-size", click.IntRange(2), "")
@_option("--learning-rate", click.FloatRange(0, min_open=True), "Peak, after the warm-up; then a cosine.")
@_option("--warmup-epochs", click.FloatRange(0), "")
@_option("--optimizer", click.Choice(["sgd", "muon"]), "")
@_option("--backprop", click.Choice(["every", "random"]), "")
@_option("--precision", click.Choice(["32-true", "bf16-mixed"]), "")
@_option("--crop", click.IntRange(0), "Augmentation: move images by up to this many pixels.")
@click.option("--flip/--no-flip", default=DEFAULT.flip, show_default=True, help="Augmentation: mirror.")
@_option("--samples", click.IntRange(2), "Only the first N training samples.")
@_option("--test-samples", click.IntRange(1), "Only the first N test samples.")
@_option("--pixels", click.IntRange(1), "Shrink images to this many pixels a side, by averaging.")
@_option("--integer-samples", click.IntRange(1), "Of these, what the integer program runs  [default: all].")
@click.option("--rows", default=",".join(ROWS), show_default=True, help="Rows to run, in the table's order.")
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True, help="Runs of each row.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Runs at a time, one thread each.")
@click.option("--stop-after", type=click.FloatRange(0), metavar="MINUTES", help="Then begin no further run.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=OUT, show_default=True)
@click.option("--table", is_flag=True, help="Run nothing: tables and plots of what is in --out.")
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
def main(
    rows: str, seeds: int, jobs: int, stop_after: float | None, out: Path, table: bool, markdown: bool, **options: Any
) -> None:
    failed: list[str] = []
    if not table:
        settle(out, Budget(**options))
        wanted = [run for run in runs_of(rows, seeds) if read_record(out, *run) is None]
        stop_at = float("inf") if stop_after is None else time.monotonic() + 60 * stop_after
        failed = run_all(out, wanted, jobs, stop_at)
    elif not budget_path(out).exists():
        raise click.UsageError(f"{out}: nothing was run here")
    report(out, read_budget(out), markdown)
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}; their logs are in {out}")


def settle(out: Path, budget: Budget) -> None:
    """Keep the budget with the runs; a folder holds runs of one budget, or they would not compare."""
    for row in ROWS:
        TrainingConfig(**budget.training(row, 0))  # says what is wrong before anything runs
    if budget_path(out).exists():
        there = msgspec.structs.asdict(read_budget(out))
        now = msgspec.structs.asdict(budget)
        changed = [f"{key} {there[key]}, now {now[key]}" for key in now if now[key] != there[key]]
        if changed:
            raise click.UsageError(f"{out} has runs of another budget ({'; '.join(changed)}): give another --out")
    write_whole(budget_path(out), msgspec.json.format(msgspec.json.encode(budget), indent=1))


class Run(NamedTuple):
    row: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.row}-{self.seed}"


def runs_of(rows: str, seeds: int) -> list[Run]:
    """All rows with the first seed, then all with the next."""
    chosen = [row.strip() for row in rows.split(",")]
    unknown = [row for row in chosen if row not in ROWS]
    if unknown:
        raise click.BadParameter(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return [Run(row, seed) for seed in range(seeds) for row in ROWS if row in chosen]


def run_all(out: Path, wanted: list[Run], jobs: int, stop_at: float) -> list[str]:
    """Run what is wanted, `jobs` at a time, beginning none after `stop_at`; returns the names of those that failed."""
    # so that the processes end with this one
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    queue, running, failed = list(wanted), dict[Run, Child](), []
    try:
        while running or (queue and time.monotonic() < stop_at):
            while queue and len(running) < jobs and time.monotonic() < stop_at:
                running[queue[0]] = Child(out, queue[0])
                queue.pop(0)
            time.sleep(POLL)
            for run in [run for run, child in running.items() if child.process.poll() is not None]:
                if running.pop(run).failed():
                    failed.append(run.name)
    finally:
        for child in running.values():
            child.stop()
        signal.signal(signal.SIGTERM, before)
    if queue:
        click.echo(f"not begun: {', '.join(run.name for run in queue)}", err=True)
    return failed


class Child:
    """A run in a process of its own; what it prints goes to log.txt in its folder."""

    def __init__(self, out: Path, run: Run) -> None:
        self.run, self.log = run, out / run.name / "log.txt"
        self.began = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "experiments.ablation.run", str(out), run.row, str(run.seed)]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
            )
        self._say("begun")

    def failed(self) -> bool:
        """Whether the ended process failed; says how it ended."""
        lines = self.log.read_text(errors="replace").splitlines() or [""]
        code = self.process.returncode
        how = "done" if code == 0 else f"failed with exit code {code}"
        self._say(f"{how} after {(time.monotonic() - self.began) / 60:.1f} minutes: {lines[-1]}")
        return code != 0

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def _say(self, text: str) -> None:
        click.echo(f"{time.strftime('%H:%M:%S')} {self.run.name}: {text}", err=True)


if __name__ == "__main__":
    main()
