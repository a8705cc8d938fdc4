"""hmdf-compile: from a trained network to an integer program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console

from hmdf.sim.errors import InputError

from .common import console, load_data, normalised, run_cli, to_program
from .model import TrainedModel, load_model

if TYPE_CHECKING:
    from hmdf.export.compiler import Compilation
    from hmdf.train.data import Dataset

MEASURED_SAMPLES = 64
"""Calibration samples that the compiled program is run on, to fill the report's activity columns."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--target", default="loihi2", show_default=True, help="Name of a chip, or a .toml that describes one.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for model.hmdf and report.json.")
@click.option("--check", is_flag=True, help="Only say what would stop the compilation; write nothing.")
@click.option("--calibration", metavar="DATA", help="Data set to calibrate on [default: the one it was trained on].")
@click.option("--samples", type=click.IntRange(1), default=256, show_default=True, help="Calibration samples.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the data sets.")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with the widths of integers.")
@click.option("--network", metavar="PACKAGE.MODULE:FUNCTION", help="MODEL is a state_dict of the module this builds.")
def compile_command(
    model: Path,
    target: str,
    out: Path | None,
    check: bool,
    calibration: str | None,
    samples: int,
    data_root: Path | None,
    config: Path | None,
    network: str | None,
) -> None:
    """Compile a trained network (MODEL) to an integer program for a chip."""
    if out is None and not check:
        raise click.UsageError("give a folder with --out, or --check")
    screen = console()
    trained = load_model(model, network)
    data = _calibration_data(trained, calibration, samples, data_root)
    with screen.status("tracing, folding, calibrating, quantizing, proving ..."):
        compilation = _compile(trained, data, target, config, calibration or trained.data_set)
    _print_findings(screen, compilation)
    if check or out is None:
        return
    _write(screen, compilation, data, out)


def _calibration_data(trained: TrainedModel, name: str | None, samples: int, root: Path | None) -> Dataset:
    wanted = name or trained.data_set
    if not wanted:
        raise click.UsageError("the model does not say what it was trained on: give --calibration DATA")
    return load_data(wanted, "train", root, samples)


def _compile(trained: TrainedModel, data: Dataset, target: str, config: Path | None, source: str) -> Compilation:
    import torch

    import hmdf
    from hmdf.export.compiler import compile_network
    from hmdf.export.config import load_config
    from hmdf.sim.program import Metadata

    preprocessing = trained.preprocessing or to_program(data.preprocessing)
    x = normalised(data, preprocessing)
    if not len(x):
        raise InputError(f"{data.name}: there are no samples to calibrate on")
    metadata = Metadata(
        tool_version=hmdf.__version__,
        network=trained.network,
        source_sha256=trained.sha256,
        data_set=trained.data_set,
        class_names=trained.class_names,
        calibration_data=Path(source).name,
    )
    return compile_network(
        trained.module,
        torch.from_numpy(x[:1].astype(np.float32)),
        target=target,
        calibration=x,
        preprocessing=preprocessing,
        config=None if config is None else load_config(config),
        metadata=metadata,
    )


def _print_findings(screen: Console, compilation: Compilation) -> None:
    for note in compilation.notes:
        screen.print(f"note: {note}", soft_wrap=True)
    program = compilation.program
    screen.print(
        f"{len(program.synapses)} synapses, {len(program.populations)} populations; "
        f"every accumulator is proven to stay within {program.accumulator_bits} bits",
        soft_wrap=True,
    )


def _write(screen: Console, compilation: Compilation, data: Dataset, out: Path) -> None:
    from hmdf.sim import storage
    from hmdf.sim.simulator import simulate

    from .summary import document, print_layers, write_json

    program = compilation.program
    x = normalised(data, program.input.preprocessing)[:MEASURED_SAMPLES]
    result = simulate(program, x)
    report = document(program, result.counters, result.seconds, ranges=compilation.ranges)
    report["notes"] = [str(note) for note in compilation.notes]
    out.mkdir(parents=True, exist_ok=True)
    storage.save(program, out / "model.hmdf")
    write_json(out / "report.json", report)
    print_layers(screen, report)
    screen.print(f"wrote {out / 'model.hmdf'} and {out / 'report.json'}", soft_wrap=True)


def main() -> None:
    """Entry point of hmdf-compile."""
    run_cli(compile_command)


if __name__ == "__main__":
    main()
