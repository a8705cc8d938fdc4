"""hmdf-explore: what spike bits, time-steps and chips cost in accuracy, energy, memory and cores."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from hmdf.extras import explained
from hmdf.hw_targets.schema import Target
from hmdf.sim.errors import DoesNotFit
from hmdf.sim.program import MAX_STEPS

from .console import alone_in, console, progress, run_cli
from .documents.exploration import Exploration, Point, RankedPoint, Setting
from .documents.files import write
from .exploration.choice import Chosen, Wanted, choose, front
from .exploration.grid import MOST_BITS, RangeError, grid, numbers, trained_bits
from .exploration.options import ENERGY_UNITS, MEMORY_UNITS, TIME_UNITS, Quantity, Share
from .exploration.tables import in_order, print_choice, print_findings, print_points
from .inputs import check_labels, load_data, targets_of
from .model import TrainedModel, load_model

if TYPE_CHECKING:
    from distributed import Client

    from hmdf.train.data import Dataset

    from .exploration.workload import Workload


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, help="Data set to simulate on: a name, or an .npz file.")
@click.option("--bits", default="2..8", show_default=True, help="Bits of graded spikes; those of training at most.")
@click.option("--steps", default="1..T", show_default=True, help="Time-steps; T is training's.")
@click.option("--target", default="loihi2", show_default=True, help="Chips: names or .toml files, or all.")
@click.option("--message-bits", default="16", show_default=True, help="Bits of signed messages, 2..16.")
@click.option("--input-bits", default="8", show_default=True, help="Bits of the input, 2..16.")
@click.option("--weight-bits", type=click.Choice(["4", "8", "4,8"]), default="8", show_default=True,
              help="Bits of the weights that training left in full precision.")  # fmt: skip
@click.option("--pools", type=click.Choice(["keep", "merge", "both"]), default="keep", show_default=True,
              help="Average pools: as they are, or folded into the next synapses.")  # fmt: skip
@click.option("--serialize-spikes", is_flag=True, help="Send graded spikes bit by bit where messages are binary.")
@click.option("--split", type=click.Choice(["train", "test", "all"]), default="test", show_default=True)
@click.option("--samples", type=click.IntRange(1), help="Simulate only the first N samples.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the data sets.")
@click.option("--calibration", metavar="DATA", help="Data set to calibrate on [default: the one it was trained on].")
@click.option("--chips", type=click.IntRange(1), default=1, show_default=True, help="Chips that may be used.")
@click.option("--network", metavar="PACKAGE.MODULE:FUNCTION", help="MODEL is a state_dict of the module this builds.")
@click.option("--max-energy", type=Quantity(ENERGY_UNITS), metavar="20uJ", help="Most energy per sample, typical.")
@click.option("--max-memory", type=Quantity(MEMORY_UNITS), metavar="200kB", help="Most memory on all cores.")
@click.option("--max-latency", type=Quantity(TIME_UNITS), metavar="2ms", help="Longest time of a sample, typical.")
@click.option("--max-cores", type=click.IntRange(1), help="Most cores.")
@click.option("--min-accuracy", type=Share(), metavar="97.5%", help="Least accuracy; of those the cheapest is chosen.")
@click.option("--jobs", type=click.IntRange(1), help="Processes [default: one per processor].")
@click.option("--scheduler", metavar="ADDRESS", help="Measure on the workers of this Dask scheduler.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of points, tables and pictures.")
def explore_command(
    model: Path,
    data: str,
    target: str,
    split: str,
    samples: int | None,
    data_root: Path | None,
    network: str | None,
    max_energy: float | None,
    max_memory: float | None,
    max_latency: float | None,
    max_cores: int | None,
    min_accuracy: float | None,
    jobs: int | None,
    scheduler: str | None,
    out: Path,
    **choices: Any,
) -> None:
    """Measure a trained network (MODEL) at every setting of a grid, and choose one.

    A stopped exploration goes on where it was: run the same command again.
    """
    limits = Wanted(max_energy, max_memory, max_latency, max_cores, min_accuracy)
    chips = _distinct(targets_of(target))
    screen = console()
    trained = load_model(model, network)
    dataset = load_data(data, split, data_root, samples)
    with alone_in(out):
        with _cluster(scheduler) as client:
            workload = _workload(trained, dataset, chips, data_root, choices)
            settings = _settings(screen, workload, choices)
            points = _measured(screen, workload, settings, out, jobs, client)
        points = in_order(points, [chip.name for chip in chips])
        best, choice = front(points), choose(points, limits)
        print_points(screen, points, best, choice.point)
        print_findings(screen, points)
        _write(screen, workload, points, best, choice, limits, out)
    print_choice(screen, choice)
    if choice.point is None:
        raise DoesNotFit("no setting fits and keeps the limits; the reasons are above")


# ------------------------------------------------------------------------------- inputs


def _distinct(targets: list[Target]) -> list[Target]:
    names = [target.name for target in targets]
    for name in names:
        if names.count(name) > 1:
            raise click.BadParameter(f"two targets are named '{name}'", param_hint="--target")
    return targets


def _cluster(address: str | None) -> Any:
    if address is None:
        return nullcontext()
    from .cluster import connected

    return connected(address)


def _workload(
    trained: TrainedModel, data: Dataset, targets: list[Target], root: Path | None, choices: dict[str, Any]
) -> Workload:
    from .compile import CALIBRATION_MACS, CALIBRATION_SAMPLES
    from .exploration.workload import prepare

    wanted = choices["calibration"] or trained.data_set
    if not wanted:
        raise click.UsageError("the model does not say what it was trained on: give --calibration DATA")
    calibration = load_data(wanted, "train", root, CALIBRATION_SAMPLES)
    with progress("calibrating") as advance:
        workload = prepare(
            trained,
            data,
            calibration,
            targets,
            pools=["keep", "merge"] if choices["pools"] == "both" else [choices["pools"]],
            chips=choices["chips"],
            serialize=choices["serialize_spikes"],
            calibration_macs=CALIBRATION_MACS,
            progress=advance,
        )
    check_labels(data, workload.classes)
    return workload


def _settings(screen: Console, workload: Workload, choices: dict[str, Any]) -> list[Setting]:
    trained = [most for network in workload.networks.values() for most in trained_bits(network.graph).values()]
    most = max(trained, default=1)
    wanted = _numbers(choices, "bits", MOST_BITS)
    if max(wanted) > most:
        reason = f"training quantised spikes to {most} bits at most" if trained else "its neurons send binary spikes"
        screen.print(f"note: {reason}: more bits give the same program", soft_wrap=True)
    return grid(
        wanted,
        _numbers(choices, "steps", *_steps(workload)),
        most,
        message_bits=_numbers(choices, "message_bits", 16, low=2),
        input_bits=_numbers(choices, "input_bits", 16, low=2),
        weight_bits=[int(bits) for bits in choices["weight_bits"].split(",")],
        pools=list(workload.networks),
    )


def _steps(workload: Workload) -> tuple[int, int, int]:
    """The most steps, the fewest, those of training. Frames are as many as were trained with."""
    return (workload.time_steps if workload.framed else MAX_STEPS), 1, workload.time_steps


def _numbers(choices: dict[str, Any], option: str, last: int, low: int = 1, trained: int | None = None) -> list[int]:
    try:
        return numbers(choices[option], last, low, trained)
    except RangeError as error:
        raise click.BadParameter(str(error), param_hint=f"--{option.replace('_', '-')}") from None


# ---------------------------------------------------------------------------- measuring


def _measured(
    screen: Console, workload: Workload, settings: list[Setting], out: Path, jobs: int | None, client: Client | None
) -> list[Point]:
    """Every point: what is kept from before, and the rest, each kept as soon as it is known."""
    from .exploration.measure import key_of
    from .exploration.runners import Job, run
    from .exploration.store import Store

    store = Store(out)
    points: list[Point] = []
    work: list[Job] = []
    for setting in settings:
        kept = {name: store.find(key_of(workload, setting, name)) for name in workload.targets}
        points += [point for point in kept.values() if point is not None]
        missing = tuple(name for name, point in kept.items() if point is None)
        work += [Job(setting, missing)] if missing else []
    total = len(settings) * len(workload.targets)
    if points:
        screen.print(f"{len(points)} of {total} points were measured before", soft_wrap=True)
    with progress("measuring", total) as advance:
        advance(len(points))
        for finished in run(workload, work, jobs, client):
            for point in finished:
                store.keep(point)
            points += finished
            advance(len(finished))
    return points


# ------------------------------------------------------------------------------ results


def _write(
    screen: Console,
    workload: Workload,
    points: list[Point],
    best: set[str],
    choice: Chosen,
    limits: Wanted,
    out: Path,
) -> None:
    about = workload.metadata
    document = Exploration(
        network=about.network,
        source_sha256=about.source_sha256,
        tool_version=about.tool_version,
        calibration_data=about.calibration_data,
        calibration_samples=about.calibration_samples,
        samples=len(workload.labels),
        trained_steps=workload.time_steps,
        chips=workload.chips,
        serialize_spikes=workload.serialize,
        limits=limits,
        chosen=None if choice.point is None else choice.point.key,
        why=choice.why,
        points=[RankedPoint(**msgspec.structs.asdict(point), front=point.key in best) for point in points],
    )
    write(out / "exploration.json", document)
    pictures = _pictures(screen, points, choice, limits, workload.time_steps, out)
    written = [out / "exploration.json", *pictures]
    written += _program(workload, choice.point, out / "chosen.hmdf")
    screen.print(f"\nwrote {', '.join(map(str, written))}", soft_wrap=True)


def _pictures(
    screen: Console, points: list[Point], choice: Chosen, limits: Wanted, trained_steps: int, out: Path
) -> list[Path]:
    from .exploration.picture import draw
    from .exploration.steps_picture import draw_steps

    try:
        return [*draw(points, choice.point, limits, out), *draw_steps(points, trained_steps, out)]
    except ModuleNotFoundError as error:
        screen.print(f"note: no picture: {explained(error, 'it') or error}", soft_wrap=True)
        return []


def _program(workload: Workload, chosen: Point | None, path: Path) -> list[Path]:
    """The chosen setting as a program; none is left over from an earlier choice."""
    from hmdf.sim import storage

    from .exploration.measure import build

    if chosen is None:
        path.unlink(missing_ok=True)
        return []
    storage.save(build(workload, chosen.setting, workload.targets[chosen.target])[0], path)
    return [path]


def main() -> None:
    """Entry point of hmdf-explore."""
    run_cli(explore_command)


if __name__ == "__main__":
    main()
