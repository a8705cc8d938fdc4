"""``hmdf-train``: train a network of the registry and write ``model.pt`` and ``metrics.csv``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hmdf.tools.common import console as make_console
from hmdf.tools.common import run_cli

if TYPE_CHECKING:
    from hmdf.train.trainer import EpochMetrics

TABLE = "{:>5}  {:>10}  {:>9}  {:>9}  {:>8}  {:>13}  {:>7}"
TITLES = ("epoch", "train loss", "train acc", "test loss", "test acc", "learning rate", "seconds")


class SpikeBits(click.ParamType):
    """1..8, or ``float`` for unquantised spikes."""

    name = "1..8|float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "float":
            return None
        if str(value) not in list("12345678"):
            self.fail(f"{value!r} is neither 1..8 nor 'float'", param, ctx)
        return int(value)


@click.command()
@click.option("--data", required=True, metavar="NAME|FILE.npz", help="digits, or an .npz of images and labels.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder in which named data sets are looked up.")
@click.option("--net", default="small", show_default=True, help="Network of the registry.")
@click.option("--width", type=click.IntRange(1), help="Channels of the first stage  [default: the network's own]")
@click.option("--weights", type=click.Choice(["ternary", "binary"]), default="ternary", show_default=True)
@click.option("--weight-scale", type=click.Choice(["tensor", "channel"]), help="One scale per tensor or channel.")
@click.option("--neuron", type=click.Choice(["plain", "mpbn", "parallel", "lif"]), default="mpbn", show_default=True)
@click.option("--parallel", type=click.Choice(["none", "second", "all"]), default="none", show_default=True,
              help="Neurons without membrane.")  # fmt: skip
@click.option("--seca", type=click.Choice(["none", "I", "II"]), default="none", show_default=True)
@click.option("--stem", type=click.Choice(["cifar", "imagenet"]), default="cifar", show_default=True)
@click.option("--downsample", type=click.Choice(["current", "spikes"]), default="current", show_default=True)
@click.option("--pool", type=click.Choice(["average", "max"]), default="average", show_default=True)
@click.option("--time-steps", type=click.IntRange(1), default=4, show_default=True)
@click.option("--spike-bits", type=SpikeBits(), default="4", show_default=True)
@click.option("--spike-lsb", type=float, default=0.25, show_default=True)
@click.option("--learn-lsb", is_flag=True, help="Learn the spike LSB of each layer.")
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True)
@click.option("--batch-size", type=click.IntRange(2), default=64, show_default=True)
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True)
@click.option("--weight-decay", type=click.FloatRange(0), default=5e-4, show_default=True)
@click.option("--label-smoothing", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True)
@click.option("--backprop", type=click.Choice(["random", "every", "stbp"]), default="random", show_default=True)
@click.option("--shift", type=click.IntRange(0), default=0, show_default=True,
              help="Augmentation: move images by up to this many pixels.")  # fmt: skip
@click.option("--precision", type=click.Choice(["32-true", "bf16-mixed"]), default="32-true", show_default=True)
@click.option("--accelerator", default="cpu", show_default=True, help="cpu, cuda or auto.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; 1 is fastest for small images  [default: all]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
def train_command(data: str, data_root: Path | None, threads: int | None, out: Path, **options: Any) -> None:
    """Train a network and write OUT/model.pt and OUT/metrics.csv after every epoch."""
    from hmdf.train.data import load

    splits = load(data, "train", data_root), load(data, "test", data_root)
    import torch

    from hmdf.train.networks import NetworkSpec
    from hmdf.train.trainer import TrainingConfig, train

    if threads is not None:
        torch.set_num_threads(threads)
    config = TrainingConfig(**{key: options.pop(key) for key in list(options) if key in _config_fields(TrainingConfig)})
    spec = NetworkSpec(
        name=options.pop("net"),
        input_shape=splits[0].input_shape,
        classes=len(splits[0].class_names),
        event=splits[0].frames is not None,
        **options,
    )
    console = make_console()
    console.print(f"{spec.name} on {splits[0].name}: {len(splits[0])} training and {len(splits[1])} test samples")
    display = _Display(console, config.epochs)
    with display.bar:
        train(spec, config, *splits, out=out, progress=display)
    console.print(f"wrote {out / 'model.pt'} and {out / 'metrics.csv'}")


class _Display:
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
        )
        self.task = self.bar.add_task("train", total=None, epoch=1, accuracy=0.0, rate=0.0)
        console.print(TABLE.format(*TITLES))

    def batch(self, epoch: int, samples: int, total: int, loss: float, accuracy: float) -> None:
        done = (epoch - 1) * total + samples
        rate = self.bar.tasks[0].speed or 0.0
        self.bar.update(self.task, completed=done, total=self.epochs * total, epoch=epoch, accuracy=accuracy, rate=rate)

    def epoch(self, metrics: "EpochMetrics") -> None:
        m = metrics
        losses = f"{m.train_loss:.4f}", f"{m.train_accuracy:.4f}", f"{m.test_loss:.4f}", f"{m.test_accuracy:.4f}"
        row = TABLE.format(m.epoch, *losses, f"{m.learning_rate:.5f}", f"{m.seconds:.1f}")
        self.console.print(row)


def _config_fields(config: type) -> set[str]:
    import dataclasses

    return {field.name for field in dataclasses.fields(config)}


def main() -> None:
    """Entry point of ``hmdf-train``. Interrupted, it leaves the files of the last complete epoch."""
    run_cli(train_command)


if __name__ == "__main__":
    main()
