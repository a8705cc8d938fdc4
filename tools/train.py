"""``hmdf-train``: train a network of the registry and write ``model.pt`` and ``metrics.csv``."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hmdf.tools.console import alone_in, run_cli
from hmdf.tools.console import console as make_console
from hmdf.train.progress import EpochMetrics, TensorBoardLog
from hmdf.train.progress import Progress as Reporting

if TYPE_CHECKING:
    from hmdf.train.checkpoint import Checkpoint
    from hmdf.train.config import RunConfig
    from hmdf.train.data import Dataset
    from hmdf.train.data.folds import Fold
    from hmdf.train.networks import NetworkSpec

TABLE = "{:>5}  {:>10}  {:>9}  {:>9}  {:>8}  {:>13}  {:>7}"
TITLES = ("epoch", "train loss", "train acc", "test loss", "test acc", "learning rate", "seconds")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class SpikeBits(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """1..8, or ``float`` for unquantised spikes."""

    name = "1..8|float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "float":
            return None
        if str(value) not in list("12345678"):
            self.fail(f"{value!r} is neither 1..8 nor 'float'", param, ctx)
        return int(value)


class FoldText(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """K/N: number K of N folds."""

    name = "K/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from hmdf.train.data.folds import Fold
        from hmdf.train.errors import DataError

        try:
            return value if isinstance(value, Fold) else Fold.from_text(value)
        except DataError as error:
            self.fail(str(error), param, ctx)


def _options(*options: Decorator) -> Decorator:
    """Several click options as one decorator, shown in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _choice(name: str, choices: str, default: str | None, text: str = "") -> Decorator:
    return click.option(name, type=click.Choice(choices.split()), default=default, show_default=True, help=text)


def _number(name: str, kind: click.ParamType[Any], default: float | None, text: str = "") -> Decorator:
    return click.option(name, type=kind, default=default, show_default=True, help=text)


NETWORK_OPTIONS = _options(
    click.option("--net", default="small", show_default=True, help="Network of the registry."),
    _number("--width", click.IntRange(1), None, "Channels of the first stage  [default: the network's own]"),
    _choice("--weights", "ternary binary float", "ternary"),
    _choice("--weight-scale", "tensor channel", None, "One scale per tensor or channel."),
    _choice("--neuron", "plain mpbn parallel lif lm-h lm-h-radical qcfs", "mpbn", "qcfs: an ANN, for --from."),
    _choice("--parallel", "none second all", "none", "Neurons without membrane."),
    _choice("--mpbn-on", "all membrane", "all", "Neurons that mpbn normalises: all, or those with a membrane."),
    _choice("--seca", "none I II II-gate", "none", "II scales the sum of two currents, II-gate the second of them."),
    _choice("--stem", "cifar imagenet", "cifar"),
    _choice("--downsample", "current spikes", "current"),
    _choice("--pool", "average max", "average"),
    _choice("--block", "pre post", None, "Residual blocks: neurons before or after  [default: the network's own]"),
    _choice("--head", "pool linear", None, "Of vgg13: one or three linear layers  [default: pool]"),
    _choice("--norm", "step each time", "step", "BatchNorm over a step; each: with its own statistics; time: tdBN."),
    _number("--time-steps", click.IntRange(1), 4),
    click.option("--spike-bits", type=SpikeBits(), default="4", show_default=True),
    _number("--spike-lsb", click.FLOAT, 0.25),
    click.option("--learn-lsb/--fixed-lsb", default=False, help="Learn the spike LSB of each layer."),
    _choice("--activation", "relu clipped power-of-two", "relu", "Of graded spikes."),
    _number(
        "--threshold",
        click.FloatRange(0, min_open=True),
        None,
        "Of LM-H neurons, and what their spike is worth; of QCFS, to start with  [default: 1; QCFS 8]",
    ),
    _number("--initial-potential", click.FLOAT, 0.5, "Of LM-H neurons, in units of the threshold."),
    _number(
        "--surrogate-width", click.FloatRange(0, min_open=True), 1.0, "Of LM-H neurons, whatever the threshold is."
    ),
    click.option(
        "--learn-factors/--fixed-factors", default=True, help="Of LM-H neurons; fixed, they stay integrate-and-fire."
    ),
    _number("--levels", click.IntRange(1), 4, "Of QCFS activations, above 0."),
)
TRAINING_OPTIONS = _options(
    _number("--epochs", click.IntRange(1), 30),
    _number("--batch-size", click.IntRange(2), 64, "Samples per step, over all devices."),
    _number("--accumulate", click.IntRange(1), 1, "Parts of a device's share, to save memory."),
    _number(
        "--learning-rate",
        click.FloatRange(0, min_open=True),
        None,
        "Peak, of SGD  [default: 0.1; muon 0.02; --from 0.002]",
    ),
    _number("--warmup-epochs", click.FloatRange(0), 1.0),
    _number("--momentum", click.FloatRange(0, 1), 0.9),
    click.option("--nesterov/--no-nesterov", default=True, help="Nesterov's momentum."),
    _number("--weight-decay", click.FloatRange(0), 5e-4),
    _choice("--optimizer", "sgd muon", "sgd", "Of the low-bit weights; all others: sgd."),
    _number("--muon-learning-rate", click.FloatRange(0, min_open=True), 0.02),
    _number("--muon-weight-decay", click.FloatRange(0), 0.05),
    _number("--label-smoothing", click.FloatRange(0, 1, max_open=True), 0.0),
    _choice("--backprop", "random every stbp slices", None, "[default: random; with LM-H neurons stbp]"),
    _number("--slice", click.IntRange(1), 2, "Time-steps of a slice, with --backprop slices."),
    _choice("--loss", "tet mean", "tet", "Cross-entropy of each step, or of the mean over steps (stbp, slices)."),
    _number("--sparsify", click.FloatRange(0), 0.0, "Sparse training: weights below D become 0, D grows to this."),
    _number("--crop", click.IntRange(0), 0, "Augmentation: move images by up to this many pixels."),
    click.option("--resized-crop/--no-resized-crop", default=False, help="Augmentation: cut out a part of the image."),
    click.option("--flip/--no-flip", default=False, help="Augmentation: mirror left and right."),
    _number("--small-size", click.IntRange(0), 0, "Shrink images to this many pixels in the first epochs, for speed."),
    _number("--small-epochs", click.IntRange(0), 0, "How many epochs that lasts."),
    _choice("--auto-augment", "none cifar10 imagenet svhn", "none", "Augmentation: a learned policy."),
    _number("--cutout", click.IntRange(0), 0, "Augmentation: blank a square of this size."),
    _number("--mixup", click.FloatRange(0, 1), 0.0, "Augmentation: share of images that are mixed."),
    _number("--roll", click.IntRange(0), 0, "Augmentation of events: move them by up to this many pixels."),
    _number("--test-every", click.IntRange(1), 1, "Test after every so many epochs, and at the end."),
    _number("--seed", click.IntRange(0), 0),
    _choice("--precision", "32-true bf16-mixed", "32-true"),
    click.option("--accelerator", default="cpu", show_default=True, help="cpu, cuda or auto."),
    _number("--workers", click.IntRange(0), 0, "Processes, per device, that read and augment ahead."),
    click.option("--cuda-graphs/--no-cuda-graphs", default=True, help="On one GPU: record steps and replay them."),
    _number("--devices", click.IntRange(1), 1, "Processes on this machine; they share each mini-batch."),
    _number("--nodes", click.IntRange(1), 1, "Machines; start the command on each, as torchrun or a cluster does."),
)


DATA_HELP = "A data set by name (nmnist:4:count = 4 frames by count), an .npz file, or a folder of class folders."
DATA_ROOT_HELP = "Folder in which named data sets are looked up  [default: the variable HMDF_DATA]"
FOLD_HELP = "Test on part K of N of both splits pooled, train on the others: short for --data DATA@K/N."
CONFIG_HELP = "Settings of a file, or of the papers by name; options given beside it take precedence."
FROM_HELP = "An ANN of qcfs neurons, to go on from as a network of --neuron lm-h or lm-h-radical, with T = its levels."
# Options in which a converted network may differ from its ANN.
CONVERTED = ("neuron", "time_steps", "initial_potential", "surrogate_width", "learn_factors", "norm")


@click.command()
@click.option("--data", metavar="NAME|FILE.npz|FOLDER", help=DATA_HELP)
@click.option("--data-root", type=click.Path(path_type=Path), help=DATA_ROOT_HELP)
@click.option("--fold", type=FoldText(), help=FOLD_HELP)
@click.option("--config", metavar="NAME|FILE.toml", help=CONFIG_HELP)
@NETWORK_OPTIONS
@TRAINING_OPTIONS
@click.option("--threads", type=click.IntRange(1), help="CPU threads; 1 is fastest for small images  [default: all]")
@click.option("--from", "ann", metavar="model.pt", type=click.Path(path_type=Path), help=FROM_HELP)
@click.option("--tensorboard", is_flag=True, help="Also log to OUT/tensorboard.")
@click.option("--resume", is_flag=True, help="Go on from OUT/resume.pt; epochs, rates and augmentation may change.")
@click.option("--dry-run", is_flag=True, help="Only say which process of how many this is, and its samples.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the results.")
@click.pass_context
def train_command(
    ctx: click.Context, /, data: str | None, data_root: Path | None, fold: Fold | None, config: str | None,
    threads: int | None, ann: Path | None, tensorboard: bool, resume: bool, dry_run: bool, out: Path,
    **options: Any,
) -> None:  # fmt: skip
    """Train a network and write OUT/model.pt, OUT/resume.pt and OUT/metrics.csv."""
    if out.is_file():
        raise click.UsageError(f"--out {out}: is a file; give a folder.")
    from hmdf.train.config import RunConfig, TrainingConfig, read_config

    settings = RunConfig() if config is None else read_config(config)
    chosen = _chosen(ctx, options, TrainingConfig, settings.training)
    given = _given(ctx, options, settings.network)
    training = TrainingConfig(**_with_defaults(chosen, ann is not None, given.get("neuron")))
    start = None if ann is None else _convert(ann, given)
    options["time_steps"] = _time_steps(ctx, options, settings, data) if start is None else start.spec.time_steps
    data = data or settings.data or (None if start is None else start.ann.dataset)
    splits = _load_data(data, fold, data_root, options["time_steps"])
    if resume:
        _refuse_slim(out)
    import torch

    from hmdf.train.launch import layout
    from hmdf.train.networks import NetworkSpec
    from hmdf.train.trainer import train

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its notes would break up the table
    if threads is not None:
        torch.set_num_threads(threads)
    if start is None:
        chosen = {**_chosen(ctx, options, NetworkSpec, settings.network), "time_steps": options["time_steps"]}
        spec, state = _spec(NetworkSpec, splits, chosen), None
    else:
        start.check(splits[0])
        spec, state = start.spec, start.state
    if dry_run:
        make_console().print(layout(spec, training, *splits), soft_wrap=True)
        return
    first = training.devices * training.nodes == 1 or _is_first_process()
    display = _Display(make_console(), training.epochs) if first else None
    reporting = display or Reporting()
    if tensorboard and display is not None:
        reporting = TensorBoardLog(out / "tensorboard", reporting)
    if display is None:
        train(spec, training, *splits, out=out, progress=reporting, resume=resume, start=state)
        return
    train_data, test_data = splits
    headline = f"{spec.name} on {train_data.name}: {len(train_data)} training and {len(test_data)} test samples"
    display.start(headline if start is None else f"{headline}\n{start}")
    with alone_in(out), display.bar:
        train(spec, training, *splits, out=out, progress=reporting, resume=resume, start=state)
    display.console.print(f"wrote {out / 'model.pt'} and {out / 'metrics.csv'}")


@dataclasses.dataclass(frozen=True, eq=False)
class _Start:
    """An ANN and the network that it became."""

    path: Path
    ann: Checkpoint
    spec: NetworkSpec
    state: Mapping[str, Any]

    def __str__(self) -> str:
        accuracy = self.ann.metrics.get("test_accuracy")
        reached = "" if accuracy is None else f", test acc {accuracy:.4f}"
        ann = f"{self.path} ({self.ann.network.levels} levels{reached})"
        return f"from {ann} to {self.spec.neuron} neurons, T = {self.spec.time_steps}; epoch 0 is before training"

    def check(self, data: Dataset) -> None:
        """The data must come in as the ANN knows them."""
        from hmdf.train.errors import DataError

        if data.preprocessing != self.ann.preprocessing:
            raise DataError(f"{data.name}: not normalised as the data that {self.path} learned from")


def _convert(path: Path, given: Mapping[str, Any]) -> _Start:
    """The ANN of a file as a network of LM-H neurons, with the options that were given."""
    from hmdf.train.checkpoint import load
    from hmdf.train.conversion import convert
    from hmdf.train.errors import ModelError

    ann = load(path)
    try:
        spec, state = convert(ann, given.get("neuron", "lm-h"), given.get("time_steps"), given.get("norm"))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    for name in given.keys() - set(CONVERTED):
        if given[name] != getattr(ann.network, name):
            of_ann = f"{path} has {name} = {getattr(ann.network, name)!r}"
            raise ModelError(f"{of_ann}, and a converted network keeps it (got {given[name]!r})")
    changed = {name: value for name, value in given.items() if name in CONVERTED[2:]}
    return _Start(path, ann, dataclasses.replace(spec, **changed), state)


def _refuse_slim(out: Path) -> None:
    """A slim checkpoint in the place of what a run goes on from is a mistake, not a folder to begin anew in."""
    from hmdf.train import checkpoint
    from hmdf.train.errors import ModelError

    path = out / "resume.pt" if (out / "resume.pt").exists() else out / "model.pt"
    if checkpoint.is_slim(path):
        raise ModelError(
            f"{path}: a slim checkpoint cannot be resumed, it lacks the real-valued weights and the optimizer's state; "
            "resume where the run was, or train to another folder"
        )


def _chosen(ctx: click.Context, options: Mapping[str, Any], kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the fields of ``kind``: as given on the command line, else by the settings, else the default."""
    values = {"name" if key == "net" else key: (key, value) for key, value in options.items()}
    result = dict(settings)
    for field in dataclasses.fields(kind):
        if field.name in values:
            key, value = values[field.name]
            if field.name not in result or _is_given(ctx, key):
                result[field.name] = value
    return result


def _given(ctx: click.Context, options: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of NetworkSpec that someone chose: on the command line, or else by the settings."""
    from hmdf.train.networks import NetworkSpec

    names = {field.name for field in dataclasses.fields(NetworkSpec)}
    values = {"name" if key == "net" else key: (key, value) for key, value in options.items()}
    chosen = {name: value for name, (key, value) in values.items() if name in names and _is_given(ctx, key)}
    return {**settings, **chosen}


def _is_given(ctx: click.Context, key: str) -> bool:
    return ctx.get_parameter_source(key) == ParameterSource.COMMANDLINE


def _with_defaults(training: dict[str, Any], converted: bool, neuron: str | None) -> dict[str, Any]:
    """Options of TrainingConfig with those that depend on others, where none was chosen."""
    chosen = {option: value for option, value in training.items() if value is not None}
    if converted:  # at the rate that LM-H has for CIFAR
        chosen = {"learning_rate": 0.002, **chosen}
    if converted or neuron in ("lm-h", "lm-h-radical"):  # progressive STBP
        chosen = {"backprop": "stbp", **chosen}
    if chosen["optimizer"] == "muon":
        # beside Muon, SGD has the real-valued weights and the scalars: 0.1 can make the stem grow without end
        chosen = {"learning_rate": 0.02, **chosen}
    return chosen


def _time_steps(ctx: click.Context, options: Mapping[str, Any], settings: RunConfig, data: str | None) -> int:
    """T: as given, else 1 for an ANN, else the frames in the name of the data, else by the settings or the default."""
    from hmdf.train.data.folds import split_fold

    frames = split_fold(data or "")[0].partition(":")[2].partition(":")[0]
    if _is_given(ctx, "time_steps"):
        return options["time_steps"]
    if _given(ctx, options, settings.network).get("neuron") == "qcfs":
        return 1
    return int(frames) if frames.isdigit() else settings.network.get("time_steps", options["time_steps"])


def _load_data(name: str | None, fold: Fold | None, root: Path | None, time_steps: int) -> tuple[Dataset, Dataset]:
    """Both splits; event recordings are cut into one frame per time-step."""
    from hmdf.train.data import load
    from hmdf.train.data.folds import split_fold, with_fold
    from hmdf.train.data.registry import one_frame_per_step

    if name is None:
        raise click.UsageError("Missing option '--data', or '--config' with settings that name the data.")
    if fold is not None and split_fold(name)[1] is not None:
        raise click.UsageError(f"--fold {fold}: the data {name} are a fold already.")
    name = one_frame_per_step(with_fold(name, fold), time_steps)
    return load(name, "train", root), load(name, "test", root)


def _spec(kind: type[NetworkSpec], splits: tuple[Dataset, Dataset], options: Mapping[str, Any]) -> NetworkSpec:
    """The network takes what the test split has; training images may be larger and are cut."""
    train_data, test_data = splits
    shape, classes, event = test_data.input_shape, len(train_data.class_names), train_data.frames is not None
    return kind(**{**options, "input_shape": shape, "classes": classes, "event": event})


def _is_first_process() -> bool:
    """Whether this process is the one that talks: torchrun, Slurm and Fabric's launcher number them."""
    for rank in ("RANK", "SLURM_PROCID"):
        if rank in os.environ:
            return os.environ[rank] == "0"
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


class _Display(Reporting):
    """A bar over the whole run and one table row per finished epoch."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.console = console
        self.epochs = epochs
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("acc {task.fields[accuracy]:.4f}  {task.fields[rate]:.0f} samples/s  left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("train", total=None, epoch=1, accuracy=0.0, rate=0.0)

    def start(self, headline: str) -> None:
        self.console.print(headline)
        self.console.print(TABLE.format(*TITLES))

    def batch(self, epoch: int, samples: int, total: int, loss: float, accuracy: float) -> None:
        done = (epoch - 1) * total + samples
        if self.bar.tasks[0].total is None:  # a resumed run has done much at once, which is no measure of its speed
            self.bar.reset(self.task, total=self.epochs * total, completed=done)
        rate = self.bar.tasks[0].speed or 0.0
        self.bar.update(self.task, completed=done, total=self.epochs * total, epoch=epoch, accuracy=accuracy, rate=rate)

    def warning(self, text: str) -> None:
        self.console.print(f"warning: {text}", soft_wrap=True)

    def note(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    def epoch(self, metrics: EpochMetrics) -> None:
        m = metrics
        figures = m.train_loss, m.train_accuracy, m.test_loss, m.test_accuracy
        losses = ["-" if figure is None else f"{figure:.4f}" for figure in figures]
        row = TABLE.format(m.epoch, *losses, f"{m.learning_rate:.5f}", f"{m.seconds:.1f}")
        self.console.print(row)


def main() -> None:
    """Entry point of ``hmdf-train``. Interrupted, it leaves the files of the last complete epoch."""
    # PyTorch and Numba have threads of their own: those that wait for work must leave the cores to the others.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    run_cli(train_command)


if __name__ == "__main__":
    main()
