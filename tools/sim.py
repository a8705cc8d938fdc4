"""hmdf-sim: run an integer program, count what it costs, and verify it against other executors."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from hmdf.sim import storage
from hmdf.sim.errors import InputError, Mismatch, ProgramError
from hmdf.sim.executor import Executor
from hmdf.sim.program import Program
from hmdf.sim.ranges import prove, unproven
from hmdf.sim.simulator import Result, Simulator
from hmdf.sim.verify import Verdict, compare
from hmdf.train.data import Dataset
from hmdf.train.data.folds import split_fold
from hmdf.train.data.picture_files import Pictures

from .console import check_labels, console, print_table, progress, run_cli, table
from .cost_tables import cost_document, own_target, print_costs, targets_of
from .documents.run import document, print_fidelity, print_layers, write_json
from .model import TrainedModel, load_model
from .simulation.baseline import baseline_document, check_same_data, data_document, read_baseline
from .simulation.feed import Samples
from .simulation.one_sample import sample_document
from .simulation.own_images import load_samples, predictions_document, print_predictions

if TYPE_CHECKING:
    from torch import nn

    from hmdf.export.graph import FoldedGraph

FIDELITY_SAMPLES = 128
"""Samples that the table of quantization noise is measured on, at most."""
BLOCK, LAVA_BLOCK = 16, 64
"""Samples compared at a time; each block starts Lava anew, which takes seconds."""
EXECUTORS = ("reference", "onnx", "lava")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data", help="Data set by name, an .npz, a folder of images or an image [default: what it was trained on]."
)
@click.option(
    "--split", type=click.Choice(["train", "test", "all"]), help="[default: test; of a folder of new images, all]"
)
@click.option("--samples", type=click.IntRange(1), help="Only the first N samples.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the data sets.")
@click.option("--threads", type=click.IntRange(1), help="Threads [default: one per processor].")
@click.option("--against", type=click.Path(path_type=Path), metavar="MODEL.PT", help="Float model to compare with.")
@click.option(
    "--network", metavar="PACKAGE.MODULE:FUNCTION", help="--against is a state_dict of the module this builds."
)
@click.option("--verify", metavar="LIST", default="", help="Executors to compare with: reference, onnx, lava.")
@click.option("--verify-samples", type=click.IntRange(1), help="Compare only the first N samples.")
@click.option("--lava-python", metavar="PYTHON", help="Interpreter that has Lava [default: this one].")
@click.option("--target", metavar="LIST", help="Targets to cost, or all [default: the one it was compiled for].")
@click.option(
    "--chips", type=click.IntRange(1), default=1, show_default=True, help="Chips of a target that may be used."
)
@click.option("--baseline", type=click.Path(path_type=Path), metavar="OUT.JSON", help="A run to compare with.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all numbers to this file.")
def sim_command(
    model: Path,
    data: str | None,
    split: str | None,
    samples: int | None,
    data_root: Path | None,
    threads: int | None,
    against: Path | None,
    network: str | None,
    verify: str,
    verify_samples: int | None,
    lava_python: str | None,
    target: str | None,
    chips: int,
    baseline: Path | None,
    json_path: Path | None,
) -> None:
    """Run the program MODEL (.hmdf) on a data set; report accuracy, operations and saturations."""
    wanted = _executors(verify)
    program = storage.load(model)
    ranges = prove(program)
    if findings := unproven(program, ranges):
        reasons = "; ".join(f"{f.where}: {f.problem}" for f in findings)
        raise ProgramError(f"{model}: not proven safe: {reasons}; compile the network with hmdf-compile")
    targets = targets_of(target or own_target(program))
    other = None if baseline is None else read_baseline(baseline)
    if not (data or program.metadata.data_set):
        raise click.UsageError("the program does not say what it was trained on: give --data")
    dataset = load_samples(program, data or program.metadata.data_set, split, data_root, samples)
    check_labels(dataset, program.classes)
    x = Samples(program, dataset)
    screen = console()
    if isinstance(dataset, Pictures) and dataset.notes:
        _note(screen, "; ".join(dataset.notes))
    _note_training_samples(screen, program, dataset)
    simulator = Simulator(threads)
    with progress("simulating", len(x)) as advance:
        result = simulator.simulate(program, x.blocks(), labels=dataset.labels, progress=advance)
    if x.clipped:
        _note(screen, f"{x.clipped:.2%} of the input values are beyond the range of the input's messages: clipped")
    accuracy: dict[str, float | None] = {"integer": result.accuracy}
    fidelity: list[dict[str, Any]] = []
    if against is not None:
        trained = load_model(against, network)
        graph = _float_graph(program, against, trained, x.x(0, 1))
        if program.metadata.source_sha256 not in ("", trained.sha256):
            _note(screen, f"{against} is not the file that the program was compiled from")
        accuracy |= _float_accuracy(trained.module, x, dataset.labels, result.predictions)
        fidelity = _fidelity(program, graph, x.x(0, FIDELITY_SAMPLES))
    verdicts: dict[str, Verdict] = {}
    if wanted:
        verdicts = _verify(program, x.messages(verify_samples or len(x)), simulator, wanted, lava_python)
    report = document(
        program,
        result.counters,
        result.seconds,
        ranges=ranges,
        accuracy=accuracy,
        verify={name: msgspec.to_builtins(verdict) for name, verdict in verdicts.items()},
    )
    report["data"] = data_document(dataset)
    report["input"]["clipped_share"] = x.clipped
    report["fidelity"] = fidelity
    report["predictions"] = predictions_document(program, dataset, result)
    report["sample"] = sample_document(program, simulator, dataset, x.messages(1))
    report |= cost_document(program, result.counters, targets, chips)
    report["baseline"] = None
    if other is not None and baseline is not None:
        check_same_data(other, baseline, report)
        report["baseline"] = baseline_document(other, baseline)
    if json_path is not None:
        write_json(json_path, report)
    print_layers(screen, report)
    if fidelity:
        print_fidelity(screen, fidelity, min(len(x), FIDELITY_SAMPLES))
    print_costs(screen, report)
    if report["predictions"] is not None and dataset.labels is None:
        print_predictions(screen, report["predictions"])
    _print_outcome(screen, report, result)
    _print_verdicts(screen, verdicts)


def _note(screen: Console, text: str) -> None:
    screen.print(f"note: {text}", soft_wrap=True)


def _note_training_samples(screen: Console, program: Program, data: Dataset | Pictures) -> None:
    """The splits of a data set and of its folds overlap: say so where the program was trained on another division."""
    trained, own = split_fold(program.metadata.data_set), split_fold(data.name)
    if trained[0] == own[0] and trained[1] != own[1]:
        of = program.metadata.data_set
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


# ---------------------------------------------------------------------------- verification


def _verify(
    program: Program, messages: NDArray, simulator: Simulator, names: list[str], lava_python: str | None
) -> dict[str, Verdict]:
    """Compare the simulator with the reference, and every other executor with the reference (or else the simulator).

    Gives a verdict per name of `names`; that of "reference" is the simulator's.
    """
    with_reference = "reference" in names
    others = [name for name in names if name != "reference"]
    executors: list[Executor] = [_executor(name, lava_python) for name in others]
    if with_reference:
        executors.insert(0, simulator)
    with progress("verifying", len(messages)) as advance:
        block = LAVA_BLOCK if "lava" in names else BLOCK
        against = None if with_reference else simulator
        verdicts = compare(program, messages, executors, against, block, progress=advance)
    return dict(zip(["reference"] * with_reference + others, verdicts, strict=True))


def _executor(name: str, lava_python: str | None) -> Executor:
    if name == "onnx":
        from hmdf.export.onnx import OnnxRuntime

        return OnnxRuntime()
    from hmdf.export.lava import Lava

    return Lava() if lava_python is None else Lava(python=lava_python)


def _print_verdicts(screen: Console, verdicts: dict[str, Verdict]) -> None:
    if not verdicts:
        return
    screen.print("\nverification", style="bold")
    grid = table("executor", "samples", "populations", "values compared", "bit exact")
    for name, verdict in verdicts.items():
        label = "numba = reference" if name == "reference" else name
        exact = "yes" if verdict.bit_exact else "NO"
        grid.add_row(label, f"{verdict.samples:,}", f"{verdict.populations:,}", f"{verdict.compared:,}", exact)
    print_table(screen, grid)
    failed = {name: v for name, v in verdicts.items() if not v.bit_exact}
    screen.print(f"bit exact: {'no' if failed else 'yes'}")
    if failed:
        lines = [f"{name}: first mismatch at {v.first_mismatch}" for name, v in failed.items()]
        raise Mismatch("the executors differ\n  " + "\n  ".join(lines))


# -------------------------------------------------------------------------------- accuracy


def _float_accuracy(
    module: nn.Module, x: Samples, labels: NDArray | None, predictions: NDArray
) -> dict[str, float | None]:
    expected = _float_predictions(module, x)
    accuracy = None if labels is None else float(np.mean(expected == labels))
    return {"float": accuracy, "agreement": float(np.mean(expected == predictions))}


def _float_predictions(module: nn.Module, x: Samples, batch: int = 64) -> NDArray:
    """Classes that the trained float model gives for normalised samples."""
    import torch

    from hmdf.train.online import run

    steps = max((int(getattr(m, "time_steps", 1)) for m in module.modules()), default=1)
    predictions = []
    with torch.inference_mode(), progress("float model", len(x)) as advance:
        for start in range(0, len(x), batch):
            part = torch.from_numpy(x.x(start, start + batch).astype(np.float32))
            predictions.append(run(module, part, steps).sum(0).argmax(1).numpy())
            advance(len(part))
    return np.concatenate(predictions)


def _float_graph(program: Program, path: Path, trained: TrainedModel, x: NDArray) -> FoldedGraph:
    """The float network whose populations the program has; it may have more of them (its spikes in single bits).

    Raises:
        InputError: it is another network.
    """
    import torch

    from hmdf.export.graph import FoldedPopulation
    from hmdf.export.passes.fold import fold
    from hmdf.export.passes.merge_pools import merge_pools
    from hmdf.export.passes.trace import trace

    if trained.input_shape not in (None, program.input.shape):
        raise InputError(f"{path}: takes samples of {trained.input_shape}, the program {program.input.shape}")
    example = torch.from_numpy(x.astype(np.float32))
    graph = fold(trace(trained.module, example[:, 0] if program.input.timing == "frames" else example))
    own = {(p.name, p.shape) for p in program.populations}
    for form in (graph, merge_pools(graph)):
        populations = {(n.name, n.shape) for n in form.nodes if isinstance(n, FoldedPopulation)}
        if populations <= own and (form.time_steps, form.readout_classes) == (program.time_steps, program.classes):
            return form
    raise InputError(f"{path}: is not the network that the program was compiled from: their layers differ")


def _fidelity(program: Program, graph: FoldedGraph, x: NDArray) -> list[dict[str, Any]]:
    """The noise of every population; null decibels where the program is exact."""
    from hmdf.export.fidelity import measure

    with progress("quantization noise", len(x)) as advance:
        rows = measure(program, graph, x, progress=advance)
    return [
        {
            "population": row.population,
            "bits": row.bits,
            "lsb": row.lsb,
            "sqnr_db": row.sqnr if isfinite(row.sqnr) else None,
            "own_sqnr_db": row.own_sqnr if isfinite(row.own_sqnr) else None,
        }
        for row in rows
    ]


def _print_outcome(screen: Console, report: dict[str, Any], result: Result) -> None:
    accuracy = report["accuracy"]
    parts = ["unknown, the images have no labels"]
    if accuracy["integer"] is not None:
        parts = [f"integer {accuracy['integer']:.2%}"]
    if accuracy["float"] is not None:
        parts = [f"float {accuracy['float']:.2%}", *parts]
    if accuracy["agreement"] is not None:
        parts.append(f"same class {accuracy['agreement']:.2%}")
    rate = report["samples"] / result.seconds if result.seconds else 0.0
    screen.print(f"\naccuracy: {', '.join(parts)}; {rate:,.0f} samples/s")


def main() -> None:
    """Entry point of hmdf-sim."""
    run_cli(sim_command)


if __name__ == "__main__":
    main()
