"""hmdf-compile: from a trained network to an integer program."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from hmdf.export.config import Config, load_config
from hmdf.export.graph import FoldedGraph, LayerGraph, Pass
from hmdf.export.listing import listing
from hmdf.export.nir import DIALECTS, Reset, dialect_of, is_graph, own_dialect
from hmdf.hw_targets.schema import Target
from hmdf.hw_targets.target import load_target
from hmdf.sim.errors import HmdfError, InputError
from hmdf.sim.program import Program
from hmdf.train.data.folds import short_name
from hmdf.train.errors import DataError

from .console import alone_in, console, progress, run_cli
from .documents.files import write
from .documents.run import Compiled
from .fit import refuse
from .inputs import load_data, normalised, to_program
from .model import TrainedModel, load_model
from .simulation.counts import counted
from .simulation.microcontrollers import microcontrollers
from .simulation.tables import print_costs, print_layers

if TYPE_CHECKING:
    from hmdf.export.compiler import Compilation
    from hmdf.train.data import Dataset

DEFAULT_EMIT = "hmdf,onnx,lava"
CALIBRATION_SAMPLES = 256
CALIBRATION_MACS = 3e11
"""Multiply-accumulates that calibration may take unless --samples says otherwise: some ten seconds on two cores."""
MEASURED_MACS = 5e10
MEASURED_SAMPLES = 64
"""Calibration samples that the compiled program is run on, to fill the report's activity columns."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--target", default="loihi2", show_default=True, help="Name of a chip, or a .toml that describes one.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for model.hmdf and report.json.")
@click.option("--check", is_flag=True, help="Only say what would stop the compilation; write nothing.")
@click.option("--calibration", metavar="DATA", help="Data set to calibrate on [default: the one it was trained on].")
@click.option("--samples", type=click.IntRange(1), help="Calibration samples [default: up to 256, fewer if large].")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the data sets.")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with the widths of integers.")
@click.option("--chips", type=click.IntRange(1), default=1, show_default=True, help="Chips that may be used.")
@click.option("--serialize-spikes", is_flag=True, help="Send graded spikes bit by bit, for chips with binary spikes.")
@click.option("--absorb-multipliers", is_flag=True,
              help="Take multipliers of binary neurons into their thresholds, for chips without.")  # fmt: skip
@click.option("--merge-pools", is_flag=True, help="Fold average pools into the next synapses, where that is exact.")
@click.option(
    "--emit", default=DEFAULT_EMIT, show_default=True, help="What to write: any of hmdf, onnx, lava, c, vectors, nir."
)
@click.option("--vectors", type=click.IntRange(1), default=4, show_default=True, help="Samples of --emit vectors.")
@click.option("--print-after", type=click.Choice(get_args(Pass)), multiple=True, help="Print what a pass made.")
@click.option("--network", metavar="PACKAGE.MODULE:FUNCTION", help="MODEL is a state_dict of the module this builds.")
@click.option("--dialect", default="nir", show_default=True, help="What wrote a NIR file: " + ", ".join(DIALECTS) + ".")
@click.option("--time-step", type=float, help="Of a NIR file, in the unit of its tau [default: the dialect's].")
@click.option("--time-steps", type=click.IntRange(1), help="T of a NIR file whose samples are no frames.")
@click.option("--reset", type=click.Choice(get_args(Reset)), help="What a spike does in a NIR file.")
def compile_command(
    model: Path,
    target: str,
    out: Path | None,
    check: bool,
    calibration: str | None,
    samples: int | None,
    data_root: Path | None,
    config: Path | None,
    chips: int,
    serialize_spikes: bool,
    absorb_multipliers: bool,
    merge_pools: bool,
    emit: str,
    vectors: int,
    print_after: tuple[Pass, ...],
    network: str | None,
    dialect: str,
    time_step: float | None,
    time_steps: int | None,
    reset: Reset | None,
) -> None:
    """Compile a trained network (MODEL), of hmdf-train or a NIR file, to an integer program for a chip."""
    if out is None and not check:
        raise click.UsageError("give a folder with --out, or --check")
    forms = _forms(emit)
    chip = load_target(target)
    screen = console()
    trained = load_model(model, network)
    reading = _reading(trained, dialect, time_step, time_steps, reset)
    data = _calibration_data(trained, calibration, samples, data_root)
    settings = Config() if config is None else load_config(config)
    settings = msgspec.structs.replace(
        settings,
        merge_pools=merge_pools or settings.merge_pools,
        serialize_spikes=serialize_spikes or settings.serialize_spikes,
        absorb_multipliers=absorb_multipliers or settings.absorb_multipliers,
    )
    optional = {
        "merge_pools": ("--merge-pools", settings.merge_pools),
        "serialize": ("--serialize-spikes", settings.serialize_spikes),
        "absorb": ("--absorb-multipliers", settings.absorb_multipliers),
    }
    for name, (option, made) in optional.items():
        if name in print_after and not made:
            raise click.UsageError(f"--print-after {name}: the pass is made with {option} only.")
    compilation = _compile(
        screen,
        trained,
        data,
        target=chip,
        chips=chips,
        config=settings,
        calibration=short_name(calibration or trained.data_set),
        calibration_macs=inf if samples else CALIBRATION_MACS,
        print_after=print_after,
        **reading,
    )
    _print_findings(screen, compilation)
    if not compilation.fits:
        refuse(screen, compilation.misfits, chip)
    screen.print(f"fits {chip.title} on {chips} chip{'s' if chips > 1 else ''}")
    if check or out is None:
        return
    with alone_in(out):
        _write(screen, compilation, data, chip, chips, out, forms, vectors, required=emit != DEFAULT_EMIT)


def _reading(
    trained: TrainedModel, dialect: str, time_step: float | None, time_steps: int | None, reset: Reset | None
) -> dict[str, Any]:
    """How a NIR graph is read; nothing for other models, which such options are no use for."""
    if is_graph(trained.module):
        spoken = own_dialect(trained.module, dialect_of(dialect, time_step, reset))
        return {"dialect": spoken, "time_steps": time_steps}
    given = {"--dialect": dialect != "nir", "--time-step": time_step, "--time-steps": time_steps, "--reset": reset}
    for option, value in given.items():
        if value:
            raise click.UsageError(f"{option} is for NIR files only.")
    return {}


def _forms(emit: str) -> list[str]:
    forms = [form.strip() for form in emit.split(",") if form.strip()]
    for form in forms:
        if form not in WRITERS:
            raise click.BadParameter(f"'{form}' cannot be written; there are {', '.join(WRITERS)}", param_hint="--emit")
    if not forms:
        raise click.BadParameter(f"name what to write: any of {', '.join(WRITERS)}", param_hint="--emit")
    return forms


def _calibration_data(trained: TrainedModel, name: str | None, samples: int | None, root: Path | None) -> Dataset:
    """Training samples of the named data set, or of the one that the model was trained on."""
    wanted = name or trained.data_set
    if not wanted:
        raise click.UsageError("the model does not say what it was trained on: give --calibration DATA")
    try:
        return load_data(wanted, "train", root, samples or CALIBRATION_SAMPLES)
    except DataError as error:
        if name is not None:
            raise
        raise InputError(f"the model was trained on '{wanted}': {error}; give --calibration DATA") from None


def _compile(
    screen: Console,
    trained: TrainedModel,
    data: Dataset,
    *,
    target: Target,
    chips: int,
    config: Config,
    calibration: str,
    calibration_macs: float,
    print_after: tuple[Pass, ...],
    **reading: Any,
) -> Compilation:
    """The compilation; where the target's accumulators are too narrow for any, the end with every finding about it."""
    import torch

    import hmdf
    from hmdf.export.errors import NarrowAccumulators
    from hmdf.sim.program import Metadata

    preprocessing = trained.preprocessing or to_program(data.preprocessing)
    if trained.input_shape not in (None, data.input_shape):
        raise InputError(f"{data.name}: its samples are {data.input_shape}, the network takes {trained.input_shape}")
    x = normalised(data, preprocessing)
    if not len(x):
        raise InputError(f"{data.name}: there are no samples to calibrate on")
    metadata = Metadata(
        tool_version=hmdf.__version__,
        network=reading["dialect"].text if reading else trained.network,
        source_sha256=trained.sha256,
        data_set=trained.data_set,
        class_names=trained.class_names,
        calibration_data=calibration,
    )

    def watch(name: Pass, graph: LayerGraph | FoldedGraph | Program) -> None:
        if name in print_after:
            screen.print(f"after {name}:\n{listing(graph)}", soft_wrap=True)

    try:
        with progress("compiling") as advance:
            return hmdf.compile(
                trained.module,
                torch.from_numpy(x[:1].astype(np.float32)),
                target=target,
                chips=chips,
                calibration=x,
                preprocessing=preprocessing,
                config=config,
                metadata=metadata,
                calibration_macs=calibration_macs,
                progress=advance,
                watch=watch,
                **reading,
            )
    except NarrowAccumulators as error:
        refuse(screen, error.findings, target)


def _print_findings(screen: Console, compilation: Compilation) -> None:
    for note in compilation.notes:
        screen.print(f"note: {note}", soft_wrap=True)
    program = compilation.program
    screen.print(
        f"{len(program.synapses)} synapses, {len(program.populations)} populations; "
        f"every accumulator is proven to stay within {program.accumulator_bits} bits",
        soft_wrap=True,
    )


def _write(
    screen: Console,
    compilation: Compilation,
    data: Dataset,
    target: Target,
    chips: int,
    out: Path,
    forms: list[str],
    vectors: int,
    required: bool,
) -> None:
    """Run the program on some calibration samples, then write it in all `forms` with its report and mapping."""
    from hmdf.export.c.cortex import SAMPLES
    from hmdf.export.passes.calibrate import affordable
    from hmdf.hw_targets.events import measured
    from hmdf.hw_targets.on_targets import on_targets
    from hmdf.sim.encoder import encode
    from hmdf.sim.simulator import simulate

    program = compilation.program
    samples = min(MEASURED_SAMPLES, affordable(compilation.folded, MEASURED_MACS))
    x = normalised(data, program.input.preprocessing)
    result = simulate(program, x[:samples])
    activity = measured(result.counters)
    shown = encode(program, x[: max(vectors, SAMPLES)])
    (on_target,) = on_targets(program, [target], activity, chips, microcontrollers(program, lambda n: shown[:n]))
    assert on_target.mapping is not None  # it fits
    report = counted(Compiled, program, result.counters, result.seconds, activity, [on_target])
    report.notes = [str(note) for note in compilation.notes]
    written = [_emit(screen, program, form, out, shown[:vectors], required) for form in forms]
    write(out / "mapping.json", on_target.mapping)
    write(out / "report.json", report)
    print_layers(screen, report)
    print_costs(screen, report)
    names = [str(path) for path in (*written, out / "mapping.json", out / "report.json") if path is not None]
    screen.print(f"wrote {', '.join(names)}", soft_wrap=True)


def _emit(
    screen: Console, program: Program, form: str, out: Path, messages: NDArray[Any], required: bool
) -> Path | None:
    """Write the program in one form; one that this machine or program cannot have is a note unless asked for."""
    try:
        return WRITERS[form](program, out, messages)
    except (HmdfError, ModuleNotFoundError) as error:
        if required or form == "hmdf":
            raise
        screen.print(f"note: no {form} form: {error}", soft_wrap=True)
        return None


def _write_hmdf(program: Program, out: Path, messages: NDArray[Any]) -> Path:
    from hmdf.sim import storage

    storage.save(program, out / "model.hmdf")
    return out / "model.hmdf"


def _write_onnx(program: Program, out: Path, messages: NDArray[Any]) -> Path:
    from hmdf.export.onnx import save_onnx

    save_onnx(program, out / "model.onnx")
    return out / "model.onnx"


def _write_lava(program: Program, out: Path, messages: NDArray[Any]) -> Path:
    from hmdf.export.lava import export_bundle

    return export_bundle(program, out / "lava")


def _write_c(program: Program, out: Path, messages: NDArray[Any]) -> Path:
    from hmdf.export.c import export_c

    return export_c(program, out / "c", messages[0])


def _write_vectors(program: Program, out: Path, messages: NDArray[Any]) -> Path:
    from hmdf.export.vectors import export_vectors

    return export_vectors(program, messages, out / "vectors")


def _write_nir(program: Program, out: Path, messages: NDArray[Any]) -> Path:
    from hmdf.export.nir.write import save_nir

    save_nir(program, out / "model.nir")
    return out / "model.nir"


WRITERS: dict[str, Callable[[Program, Path, NDArray[Any]], Path]] = {
    "hmdf": _write_hmdf,
    "onnx": _write_onnx,
    "lava": _write_lava,
    "c": _write_c,
    "vectors": _write_vectors,
    "nir": _write_nir,
}


def main() -> None:
    """Entry point of hmdf-compile."""
    run_cli(compile_command)


if __name__ == "__main__":
    main()
