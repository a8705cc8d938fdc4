"""hmdf-sim: run an integer program, count what it costs, and verify it against other executors."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from hmdf.hw_targets.events import measured
from hmdf.hw_targets.on_targets import on_targets
from hmdf.sim import storage
from hmdf.sim.errors import ProgramError
from hmdf.sim.program import MAX_STEPS, Program
from hmdf.sim.ranges import prove, unproven
from hmdf.sim.simulator import Simulator
from hmdf.sim.steps import with_steps
from hmdf.train.data import Dataset
from hmdf.train.data.folds import split_fold
from hmdf.train.data.picture_files import Pictures

from .console import console, run_cli
from .documents.files import read, write
from .documents.run import Accuracy, Simulated
from .inputs import check_labels, own_target, targets_of
from .model import load_model
from .simulation import float_model, tables
from .simulation.baseline import baseline, check_same_data, run_data
from .simulation.counts import counted
from .simulation.executors import EXECUTORS, Checks, require_equal
from .simulation.feed import Feed
from .simulation.microcontrollers import microcontrollers
from .simulation.one_sample import one_sample
from .simulation.own_images import load_samples, predictions
from .simulation.remote import LOCAL, DataReference
from .simulation.running import run_samples


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data", help="Data set by name, an .npz, a folder of images or an image [default: what it was trained on]."
)
@click.option(
    "--split", type=click.Choice(["train", "test", "all"]), help="[default: test; of a folder of new images, all]"
)
@click.option("--samples", type=click.IntRange(1), help="Only the first N samples.")
@click.option("--time-steps", type=click.IntRange(1, MAX_STEPS), help="Run so many steps [default: the program's].")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the data sets.")
@click.option("--threads", type=click.IntRange(1), help="Threads [default: one per processor].")
@click.option("--against", type=click.Path(path_type=Path), metavar="MODEL.PT", help="Float model to compare with.")
@click.option(
    "--network", metavar="PACKAGE.MODULE:FUNCTION", help="--against is a state_dict of the module this builds."
)
@click.option(
    "--verify", "executors", metavar="LIST", default="", help="Executors to compare with: reference, onnx, lava, c."
)
@click.option("--verify-samples", type=click.IntRange(1), help="Compare only the first N samples.")
@click.option("--lava-python", metavar="PYTHON", help="Interpreter that has Lava [default: this one].")
@click.option("--target", metavar="LIST", help="Targets to cost, or all [default: the one it was compiled for].")
@click.option(
    "--chips", type=click.IntRange(1), default=1, show_default=True, help="Chips of a target that may be used."
)
@click.option(
    "--baseline", "beside", type=click.Path(path_type=Path), metavar="OUT.JSON", help="A run to compare with."
)
@click.option(
    "--cluster", metavar="local:N | ADDRESS", help="Run on N processes, or on the workers of a Dask scheduler."
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Keep finished blocks of samples there, and go on from those that it has.")  # fmt: skip
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all numbers to this file.")
def sim_command(
    model: Path,
    data: str | None,
    split: str | None,
    samples: int | None,
    time_steps: int | None,
    data_root: Path | None,
    threads: int | None,
    against: Path | None,
    network: str | None,
    executors: str,
    verify_samples: int | None,
    lava_python: str | None,
    target: str | None,
    chips: int,
    beside: Path | None,
    cluster: str | None,
    resume: Path | None,
    json_path: Path | None,
) -> None:
    """Run the program MODEL (.hmdf) on a data set; report accuracy, operations and saturations."""
    wanted = _executors(executors)
    _check_cluster(cluster, threads)
    stored = storage.load(model)
    program = with_steps(stored, time_steps or stored.time_steps)
    if findings := unproven(program, prove(program)):
        reasons = "; ".join(f"{f.where}: {f.problem}" for f in findings)
        raise ProgramError(f"{model}: not proven safe: {reasons}; compile the network with hmdf-compile")
    targets = targets_of(target or own_target(program))
    other = None if beside is None else read(beside, Simulated, "--baseline")
    name = data or program.metadata.data_set
    if not name:
        raise click.UsageError("the program does not say what it was trained on: give --data")
    dataset = load_samples(program, name, split, data_root, samples)
    check_labels(dataset, program.classes)
    screen = console()
    _note_about_data(screen, program, dataset)
    feed, simulator = Feed.of(program, dataset), Simulator(threads)
    trained = None if against is None else load_model(against, network)
    if against is not None and trained is not None:
        fidelity = float_model.noise(program, against, trained, feed, stored.time_steps)
        float_model.extend(against, trained.module, program.time_steps)
        if program.metadata.source_sha256 not in ("", trained.sha256):
            _note(screen, f"{against} is not the file that the program was compiled from")
    if other is not None and beside is not None:
        check_same_data(other, beside, len(feed), run_data(dataset))
    first = one_sample(program, simulator, dataset, feed.messages(1))  # compiles the kernels for whoever comes next
    checks = Checks(wanted, min(verify_samples or len(feed), len(feed)), lava_python)
    reference = DataReference(name, dataset.split, data_root, samples)
    totals, seconds = run_samples(model, feed, dataset, reference, simulator, checks, cluster, resume)
    counters, accuracy = totals.counters(), totals.accuracy(dataset.labels)
    clipped = totals.clipped / (feed.values * len(feed))
    if clipped:
        _note(screen, f"{clipped:.2%} of the input values are beyond the range of the input's messages: clipped")
    events = measured(counters)
    on = on_targets(program, targets, events, chips, microcontrollers(program, feed.messages))
    document = counted(Simulated, program, counters, seconds, events, on)
    document.input.clipped_share = clipped
    document.accuracy = Accuracy(integer=accuracy)
    document.data = run_data(dataset)
    document.sample = first
    document.verify = totals.compared
    if trained is not None:
        document.fidelity = fidelity
        document.accuracy = float_model.accuracies(program, trained.module, feed, dataset.labels, totals)
    if isinstance(dataset, Pictures):
        document.predictions = predictions(program, dataset, totals)
    if other is not None and beside is not None:
        document.baseline = baseline(other, beside)
    if json_path is not None:
        write(json_path, document)
    _print(screen, document)
    require_equal(document.verify)


def _print(screen: Console, document: Simulated) -> None:
    tables.print_layers(screen, document)
    if document.fidelity:
        tables.print_noise(screen, document.fidelity, min(document.samples, float_model.NOISE_SAMPLES))
    tables.print_costs(screen, document)
    if document.predictions is not None and document.accuracy.integer is None:
        tables.print_predictions(screen, document.predictions)
    tables.print_accuracy(screen, document)
    tables.print_verification(screen, document.verify)


def _note(screen: Console, text: str) -> None:
    screen.print(f"note: {text}", soft_wrap=True)


def _note_about_data(screen: Console, program: Program, data: Dataset | Pictures) -> None:
    """What was changed in images; and that splits overlap, where the program was trained on another division."""
    if isinstance(data, Pictures) and data.notes:
        _note(screen, "; ".join(data.notes))
    of = program.metadata.data_set
    (trained, division), (own, other) = split_fold(of), split_fold(data.name)
    if trained == own and division != other:
        _note(
            screen, f"trained on {of}, run on {data.name}: only the test split of {of} is sure to be new to the program"
        )


def _executors(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in EXECUTORS:
            raise click.BadParameter(
                f"'{name}' is not an executor; there are {', '.join(EXECUTORS)}", param_hint="--verify"
            )
    return names


def _check_cluster(cluster: str | None, threads: int | None) -> None:
    if cluster is None:
        return
    number = cluster.removeprefix(LOCAL)
    if not (number.isdigit() and int(number) if cluster.startswith(LOCAL) else "://" in cluster):
        raise click.BadParameter("give local:N, or the address of a Dask scheduler", param_hint="--cluster")
    if threads is not None:
        raise click.UsageError(
            "--threads is of this process; each worker of --cluster runs one block per thread it has"
        )


def main() -> None:
    """Entry point of hmdf-sim."""
    run_cli(sim_command)


if __name__ == "__main__":
    main()
