"""Random programs, by the thousands, in the executors against the reference: every message and every logit.

    python benchmarks/soak.py --programs 10000
    python benchmarks/soak.py --executor lava --programs 200
    python benchmarks/soak.py --networks --programs 1000
    python benchmarks/soak.py --executor checked --edges

With --networks the programs are compiled from random networks with extreme parameters; with --edges they are those of
tests/edge_programs.py. The executor `checked` is the simulator with every load and store of its kernels checked. Exit
status 0 when all agree, 5 at a mismatch; the report names the seeds, from which `program_of(seed)` of
tests/programs.py, or `hostile(seed)` of tests/networks.py, builds the same again.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from networks import compiled_hostile

from edge_programs import EDGES
from hmdf.export.c import CompiledC
from hmdf.export.errors import CompileError
from hmdf.export.lava import Lava
from hmdf.export.onnx import OnnxRuntime
from hmdf.sim.contract import Synapse
from hmdf.sim.errors import Mismatch
from hmdf.sim.executor import Executor
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import compare
from programs import program_of, random_messages

SHOWN_FAILURES = 20
SANITIZED = (
    "-std=c99",
    "-O1",
    "-Werror",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-fsanitize=undefined,address",
    "-fno-sanitize-recover=all",
)


def _checked() -> Executor:
    from checked_kernels import CheckedSimulator

    return CheckedSimulator()


EXECUTORS: dict[str, Callable[[], Executor]] = {
    "onnx": lambda: OnnxRuntime(threads=1),
    "simulator": lambda: Simulator(threads=1),
    "lava": lambda: Lava(time_limit=600),
    "c": lambda: CompiledC(flags=SANITIZED),
    "checked": _checked,
}


class Outcome(msgspec.Struct, frozen=True):
    """One program: how many integers were compared, the node kinds in it, and what went wrong, if anything.

    One that the compiler refused, with a finding, has no kinds.
    """

    seed: int
    compared: int
    kinds: tuple[str, ...]
    failure: str = ""


@click.command(help=__doc__)
@click.option("--programs", default=10_000, show_default=True, help="How many random programs.")
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--samples", default=4, show_default=True, help="Samples per program.")
@click.option(
    "--executor",
    "executors",
    type=click.Choice(list(EXECUTORS)),
    multiple=True,
    default=("onnx", "simulator"),
    show_default=True,
    help="What is compared; may be given again.",
)
@click.option("--networks", is_flag=True, help="Programs compiled from networks with extreme parameters.")
@click.option("--edges", is_flag=True, help="Programs at the edges of the contract, all of them.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes.")
def main(
    programs: int, first: int, samples: int, executors: tuple[str, ...], networks: bool, edges: bool, jobs: int
) -> None:
    if {"checked", "simulator"} <= set(executors):
        raise click.UsageError("a process compiles its kernels with checks or without: one of checked and simulator")
    console = Console()
    programs = len(EDGES) if edges else programs
    started = time.perf_counter()
    outcomes = []
    columns = (TextColumn("programs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, ProcessPoolExecutor(jobs) as pool:
        bar = progress.add_task("", total=programs)
        seeds = range(first, first + programs)
        one = partial(check, samples=samples, executors=executors, networks=networks, edges=edges)
        for outcome in pool.map(one, seeds, chunksize=min(10, programs // jobs + 1)):
            outcomes.append(outcome)
            progress.advance(bar)
            if outcome.failure:
                progress.console.print(f"seed {outcome.seed}: {outcome.failure}", markup=False)
    failures = [o for o in outcomes if o.failure]
    console.print(report(outcomes, executors, samples, time.perf_counter() - started))
    if failures:
        seeds_shown = ", ".join(str(o.seed) for o in failures[:SHOWN_FAILURES])
        console.print(f"NOT bit exact: {len(failures)} of {programs} programs. First seeds: {seeds_shown}")
        sys.exit(Mismatch.exit_code)
    console.print(f"bit exact: yes, {programs} of {programs} programs")


def check(seed: int, samples: int, executors: tuple[str, ...], networks: bool, edges: bool) -> Outcome:
    """Run one random program in all executors."""
    kinds: tuple[str, ...] = ()
    try:
        if networks:
            program, messages = compiled_hostile(seed)
        else:
            program = list(EDGES.values())[seed]() if edges else program_of(seed)
            messages = random_messages(program, samples, seed)
        kinds = tuple(kinds_of(program))
        verdicts = compare(program, messages, [EXECUTORS[name]() for name in executors])
    except CompileError:
        return Outcome(seed, 0, kinds)
    except Exception as error:  # a program that one executor cannot run is a finding like any other
        return Outcome(seed, 0, kinds, f"{type(error).__name__}: {error}")
    differ = (f"{verdict.executor}: {verdict.first_mismatch}" for verdict in verdicts if not verdict.bit_exact)
    return Outcome(seed, sum(verdict.compared for verdict in verdicts), kinds, "; ".join(differ))


def kinds_of(program: Program) -> Iterator[str]:
    """The synapse patterns and dynamics of a program, once per node."""
    for node in program.nodes:
        yield type(node.op if isinstance(node, Synapse) else node.dynamics).__name__


def report(outcomes: list[Outcome], executors: tuple[str, ...], samples: int, seconds: float) -> Table:
    """Nodes of each kind and what was compared."""
    nodes = Counter(kind for outcome in outcomes for kind in outcome.kinds)
    table = Table(title=f"{', '.join(executors)} against the reference, {samples} samples per program, {seconds:.0f} s")
    table.add_column("what")
    table.add_column("number", justify="right")
    for kind, number in sorted(nodes.items()):
        table.add_row(f"nodes: {kind}", f"{number:,}")
    if refused := sum(not outcome.kinds and not outcome.failure for outcome in outcomes):
        table.add_row("networks that the compiler refused", f"{refused:,}")
    table.add_row("programs", f"{len(outcomes):,}", end_section=True)
    table.add_row("integers compared", f"{sum(o.compared for o in outcomes):,}")
    return table


if __name__ == "__main__":
    main()
