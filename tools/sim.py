"""hmdf-sim: run an integer program, count what it costs, and verify it against other executors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from hmdf.sim import storage
from hmdf.sim.encoder import encode
from hmdf.sim.errors import Mismatch
from hmdf.sim.program import Program
from hmdf.sim.reference import Executor
from hmdf.sim.simulator import Result, Simulator
from hmdf.sim.verify import Verdict, compare

from .common import check_labels, console, load_data, normalised, progress, run_cli, table
from .summary import document, print_layers, write_json

EXECUTORS = ("reference", "onnx", "lava")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, help="Data set by name, or an .npz file of images and labels.")
@click.option("--split", type=click.Choice(["train", "test", "all"]), default="test", show_default=True)
@click.option("--samples", type=click.IntRange(1), help="Only the first N samples.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the data sets.")
@click.option("--threads", type=click.IntRange(1), help="Threads [default: one per processor].")
@click.option("--against", type=click.Path(path_type=Path), metavar="MODEL.PT", help="Float model to compare with.")
@click.option("--verify", metavar="LIST", default="", help="Executors to compare with: reference, onnx, lava.")
@click.option("--verify-samples", type=click.IntRange(1), help="Compare only the first N samples.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all numbers to this file.")
def sim_command(
    model: Path,
    data: str,
    split: str,
    samples: int | None,
    data_root: Path | None,
    threads: int | None,
    against: Path | None,
    verify: str,
    verify_samples: int | None,
    json_path: Path | None,
) -> None:
    """Run the program MODEL (.hmdf) on a data set; report accuracy, operations and saturations."""
    wanted = _executors(verify)
    program = storage.load(model)
    dataset = load_data(data, split, data_root, samples)
    check_labels(dataset, program.classes)
    x = normalised(dataset, program.input.preprocessing)
    messages = encode(program, x)
    screen = console()
    simulator = Simulator(threads)
    with progress("simulating", len(x)) as advance:
        result = simulator.simulate(program, messages, labels=dataset.labels, progress=advance)
    accuracy = _accuracy(result, against, x, dataset.labels)
    verdicts = _verify(program, messages[:verify_samples], simulator, wanted) if wanted else {}
    report = document(
        program,
        result.counters,
        result.seconds,
        accuracy=accuracy,
        verify={name: _plain(verdict) for name, verdict in verdicts.items()},
    )
    if json_path is not None:
        write_json(json_path, report)
    print_layers(screen, report)
    _print_outcome(screen, report, result)
    _print_verdicts(screen, verdicts)


def _executors(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in EXECUTORS:
            raise click.BadParameter(
                f"'{name}' is not an executor; there are {', '.join(EXECUTORS)}", param_hint="--verify"
            )
    return names


# ---------------------------------------------------------------------------- verification


def _verify(program: Program, messages: NDArray, simulator: Simulator, names: list[str]) -> dict[str, Verdict]:
    """Compare the simulator with the reference, and every other executor with the reference (or else the simulator).

    Gives a verdict per name of `names`; that of "reference" is the simulator's.
    """
    with_reference = "reference" in names
    others = [name for name in names if name != "reference"]
    executors: list[Executor] = [_executor(name) for name in others]
    if with_reference:
        executors.insert(0, simulator)
    with progress("verifying", len(messages)) as advance:
        verdicts = compare(program, messages, executors, None if with_reference else simulator, progress=advance)
    return dict(zip(["reference"] * with_reference + others, verdicts, strict=True))


def _executor(name: str) -> Executor:
    if name == "onnx":
        from hmdf.export.onnx.runtime import OnnxRuntime

        return OnnxRuntime()
    from hmdf.export.lava.executor import Lava

    return Lava()


def _plain(verdict: Verdict) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(verdict)


def _print_verdicts(screen: Console, verdicts: dict[str, Verdict]) -> None:
    if not verdicts:
        return
    grid = table("\nverification", "executor", "samples", "populations", "values compared", "bit exact")
    for name, verdict in verdicts.items():
        label = "numba = reference" if name == "reference" else name
        exact = "yes" if verdict.bit_exact else "NO"
        grid.add_row(label, f"{verdict.samples:,}", f"{verdict.populations:,}", f"{verdict.compared:,}", exact)
    screen.print(grid)
    failed = {name: v for name, v in verdicts.items() if not v.bit_exact}
    screen.print(f"bit exact: {'no' if failed else 'yes'}")
    if failed:
        lines = [f"{name}: first mismatch at {v.first_mismatch}" for name, v in failed.items()]
        raise Mismatch("the executors differ\n  " + "\n  ".join(lines))


# -------------------------------------------------------------------------------- accuracy


def _accuracy(result: Result, against: Path | None, x: NDArray, labels: NDArray) -> dict[str, float | None]:
    accuracy: dict[str, float | None] = {"integer": result.accuracy}
    if against is not None:
        predictions = _float_predictions(against, x)
        accuracy["float"] = float(np.mean(predictions == labels))
        accuracy["agreement"] = float(np.mean(predictions == result.predictions))
    return accuracy


def _float_predictions(path: Path, x: NDArray, batch: int = 64) -> NDArray:
    """Classes that the trained float model gives for normalised samples."""
    import torch

    from hmdf.train.online import run

    from .model import load_model

    module = load_model(path).module
    steps = max(int(getattr(m, "time_steps", 1)) for m in module.modules())
    predictions = []
    with torch.inference_mode(), progress("float model", len(x)) as advance:
        for start in range(0, len(x), batch):
            part = torch.from_numpy(x[start : start + batch].astype(np.float32))
            predictions.append(run(module, part, steps).sum(0).argmax(1).numpy())
            advance(len(part))
    return np.concatenate(predictions)


def _print_outcome(screen: Console, report: dict[str, Any], result: Result) -> None:
    accuracy = report["accuracy"]
    parts = [f"integer {accuracy['integer']:.2%}"]
    if accuracy["float"] is not None:
        parts = [f"float {accuracy['float']:.2%}", *parts, f"same class {accuracy['agreement']:.2%}"]
    rate = report["samples"] / result.seconds if result.seconds else 0.0
    screen.print(f"accuracy: {', '.join(parts)}; {rate:,.0f} samples/s")


def main() -> None:
    """Entry point of hmdf-sim."""
    run_cli(sim_command)


if __name__ == "__main__":
    main()
