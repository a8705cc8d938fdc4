"""How separable in time the gradients of online learning are, along a training and layer by layer.

    python -m experiments.separability --out build/separability

For each kind of neuron a small network is trained online; at some moments of it the gradients of four mini-batches of
test samples are compared with those through time (STBP): of the online rule (the state's gradient cut, as HM-DF and
SLTT have it), and of OTTT's rule, which has the trace of each synapse's inputs in the place of the input. A cosine of 1
is a gradient that is separable in time. That of neurons that are above their threshold at every step, or below it at
every step, is (HM-DF, theorem 4.2; with MPBN corollary 4.3), and that of parallel neurons, which have no membrane. What
was measured is kept in --out, one file per run; the same command makes what is missing, then the table and a plot.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import click
import msgspec
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from experiments.ablation.run import shrunk
from hmdf.sim.files import write_whole
from hmdf.tools.console import run_cli
from hmdf.tools.inputs import load_data
from hmdf.tools.plots import new_figure, save, style
from hmdf.train.config import TrainingConfig
from hmdf.train.data import Dataset, normalise
from hmdf.train.fused import cpu
from hmdf.train.networks import NetworkSpec
from hmdf.train.online import backward_every, backward_stbp
from hmdf.train.progress import EpochMetrics, Progress
from hmdf.train.synapses import quantised_once
from hmdf.train.trainer import TrainingRun

ROWS: dict[str, dict[str, Any]] = {
    "parallel": {"neuron": "parallel"},
    "second-parallel": {"neuron": "plain", "parallel": "second"},
    "plain": {"neuron": "plain"},
    "mpbn": {"neuron": "mpbn"},
    "lif": {"neuron": "lif"},
}
MOMENTS = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 3.0)
"""Epochs after which gradients are compared."""
MINI_BATCHES, SAMPLES = 4, 64
TRACE = 0.5
"""What is left of OTTT's trace after a time-step: 1 - 1/tau, at its tau of 2."""


class Settings(msgspec.Struct, frozen=True):
    """What every row shares; samples: the first of the training, or all."""

    data: str
    pixels: int
    width: int
    time_steps: int
    epochs: int
    seeds: int
    samples: int | None


class Comparison(msgspec.Struct, frozen=True):
    """At one moment, cosines with the STBP gradient, means over the mini-batches.

    Attributes:
        epoch: share of epochs done.
        online, ottt: of all weights together.
        online_by_layer, ottt_by_layer: of each convolution and the classifier, by module path.
    """

    epoch: float
    online: float
    ottt: float
    online_by_layer: dict[str, float]
    ottt_by_layer: dict[str, float]


class Measured(msgspec.Struct, frozen=True):
    """A run; test_accuracy is that of its end."""

    row: str
    seed: int
    settings: Settings
    test_accuracy: float
    moments: list[Comparison]


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.option("--data", default="cifar10", show_default=True)
@click.option(
    "--pixels", type=click.IntRange(1), default=16, show_default=True, help="Images shrunk to this many a side."
)
@click.option("--width", type=click.IntRange(1), default=8, show_default=True, help="Of ResNet-18.")
@click.option("--time-steps", type=click.IntRange(2), default=4, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=2, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True)
@click.option("--rows", default=",".join(ROWS), show_default=True)
@click.option("--samples", type=click.IntRange(2), help="Only the first N training samples.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build/separability"))
def main(rows: str, out: Path, **options: Any) -> None:
    settings = Settings(**options)
    out.mkdir(parents=True, exist_ok=True)
    found: list[Measured] = []
    for seed in range(settings.seeds):
        for row in (name.strip() for name in rows.split(",")):
            if row not in ROWS:
                raise click.BadParameter(f"no row is called {row}; there are {', '.join(ROWS)}", param_hint="--rows")
            path = out / f"{row}-{seed}.json"
            if not path.exists():
                made = measure(settings, row, seed)
                write_whole(path, msgspec.json.format(msgspec.json.encode(made), indent=1))
            found.append(msgspec.json.decode(path.read_bytes(), type=Measured))
            if found[-1].settings != settings:
                raise click.UsageError(f"{path}: measured with other settings; give another --out")
            click.echo(f"{row}, seed {seed}: {found[-1].moments[-1].online:.3f}", err=True)
    click.echo(table(found))
    draw(found, out)


def measure(settings: Settings, row: str, seed: int) -> Measured:
    train_data = shrunk(load_data(settings.data, "train", None, settings.samples), settings.pixels)
    test_data = shrunk(load_data(settings.data, "test", None, None), settings.pixels)
    spec = NetworkSpec(
        "resnet18", train_data.input_shape, len(train_data.class_names), settings.time_steps,
        width=settings.width, spike_bits=None, **ROWS[row],
    )  # fmt: skip
    config = TrainingConfig(
        epochs=settings.epochs, batch_size=128, learning_rate=0.1, warmup_epochs=0.4, optimizer="muon",
        crop=2, flip=True, backprop="every", seed=seed, test_every=settings.epochs,
    )  # fmt: skip
    batches = list(mini_batches(test_data))
    moments: list[Comparison] = []
    watch = Watch(
        [m for m in MOMENTS if m <= settings.epochs], lambda at: moments.append(compare(this_run.model, batches, at))
    )
    this_run = TrainingRun(
        Fabric(accelerator="cpu", devices=1), spec, config, train_data, test_data, None, watch, float("inf")
    )
    moments.append(compare(this_run.model, batches, 0.0))
    this_run.to_the_end()
    assert watch.accuracy is not None
    return Measured(row, seed, settings, watch.accuracy, moments)


class Watch(Progress):
    """Calls ``at`` with the share of epochs done when a moment has come."""

    def __init__(self, moments: list[float], at: Callable[[float], None]) -> None:
        self.waiting, self.at = [moment for moment in moments if moment > 0], at
        self.accuracy: float | None = None

    def batch(self, epoch: int, samples: int, total: int, loss: float, accuracy: float) -> None:
        if self.waiting and epoch - 1 + samples / total >= self.waiting[0] - 1e-9:
            self.at(self.waiting.pop(0))

    def epoch(self, metrics: EpochMetrics) -> None:
        self.accuracy = metrics.test_accuracy


def mini_batches(data: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, MINI_BATCHES * SAMPLES, SAMPLES):
        part = slice(start, start + SAMPLES)
        yield (
            torch.from_numpy(normalise(data.inputs[part], data.preprocessing)).float(),
            torch.from_numpy(data.labels[part]),
        )


def compare(model: nn.Module, batches: list[tuple[Tensor, Tensor]], epoch: float) -> Comparison:
    """Both rules against STBP, in training mode, on a copy of the model."""
    model = copy.deepcopy(model).train()
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    cosines: dict[str, dict[str, list[float]]] = {
        rule: {name: [] for name in ("", *layers)} for rule in ("online", "ottt")
    }
    with quantised_once(model), operators():
        for x, labels in batches:
            with Traces(layers) as traces:
                online = gradients(model, layers, backward_every, x, labels)
            full = gradients(model, layers, backward_stbp, x, labels)
            for rule, found in (("online", online), ("ottt", traces.gradients)):
                for name in layers:
                    cosines[rule][name].append(cosine(found[name], full[name]))
                together = [torch.cat([g[name].flatten() for name in layers]) for g in (found, full)]
                cosines[rule][""].append(cosine(*together))
    by_rule = {rule: {name: mean(values) for name, values in found.items()} for rule, found in cosines.items()}
    online_all, ottt_all = (by_rule[rule].pop("") for rule in ("online", "ottt"))
    return Comparison(epoch, online_all, ottt_all, by_rule["online"], by_rule["ottt"])


@contextmanager
def operators() -> Iterator[None]:
    """PyTorch's operators in the place of fused ones, which hide a layer's inputs and gradients."""
    fits, cpu.fits = cpu.fits, lambda *_: False
    try:
        yield
    finally:
        cpu.fits = fits


def gradients(model: nn.Module, layers: dict[str, Any], rule: Any, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    steps = next(module.time_steps for module in model.modules() if hasattr(module, "time_steps"))
    rule(model, x, labels, steps, functional.cross_entropy, Tensor.backward)
    return {name: layer.weight.grad.clone() for name, layer in layers.items()}


class Traces:
    """OTTT's gradient of every weight (its eq. of the online update): the sum over the steps of the gradient at the
    current times the trace of the inputs, a_t = TRACE a_{t-1} + x_t, while the online rule runs.
    """

    def __init__(self, layers: dict[str, Any]) -> None:
        self.layers, self.traces = layers, dict[str, Tensor]()
        self.gradients = {name: torch.zeros_like(layer.weight) for name, layer in layers.items()}

    def __enter__(self) -> Traces:
        self.handles = [layer.register_forward_hook(self._hook(name)) for name, layer in self.layers.items()]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[..., None]:
        def after(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0].detach()
            trace = x if name not in self.traces else TRACE * self.traces[name] + x
            self.traces[name] = trace

            def add(gradient: Tensor) -> None:
                if isinstance(layer, nn.Linear):
                    self.gradients[name] += gradient.T @ trace
                else:
                    self.gradients[name] += torch.nn.grad.conv2d_weight(
                        trace, layer.weight.shape, gradient, layer.stride, layer.padding
                    )

            output.register_hook(add)

        return after


def cosine(a: Tensor, b: Tensor) -> float:
    return float(functional.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0))


def table(found: list[Measured]) -> str:
    """Markdown: a row for each kind of neuron, means over the seeds."""
    lines = [
        "| neurons | online, untrained | trained | lowest layer | OTTT, untrained | trained | lowest layer | top-1 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in dict.fromkeys(run.row for run in found):
        runs = [run for run in found if run.row == row]
        figures = []
        for rule in ("online", "ottt"):
            figures += [mean(getattr(run.moments[at], rule) for run in runs) for at in (0, -1)]
            figures.append(mean(min(getattr(run.moments[-1], f"{rule}_by_layer").values()) for run in runs))
        accuracy = mean(run.test_accuracy for run in runs)
        lines.append(f"| {row} | " + " | ".join(f"{value:.3f}" for value in figures) + f" | {accuracy:.1%} |")
    return "\n".join(lines)


def draw(found: list[Measured], folder: Path) -> None:
    """Left: along the training, all weights; right: by layer, at its end. Lines: online; dashes: OTTT."""
    with style():
        picture = new_figure(8.5, 3.4)
        along, layers = picture.subplots(1, 2)
        for index, row in enumerate(dict.fromkeys(run.row for run in found)):
            runs = [run for run in found if run.row == row]
            epochs = [moment.epoch for moment in runs[0].moments]
            for rule, line in (("online", "-"), ("ottt", "--")):
                values = [mean(getattr(run.moments[at], rule) for run in runs) for at in range(len(epochs))]
                label = row if rule == "online" else None
                along.plot(epochs, values, line, color=f"C{index}", marker=".", label=label)
                by_layer = [getattr(run.moments[-1], f"{rule}_by_layer") for run in runs]
                layers.plot([mean(one[name] for one in by_layer) for name in by_layer[0]], line, color=f"C{index}")
        along.set(xlabel="epochs", ylabel="cosine with the gradient through time", title="all weights")
        along.legend(title="online (dashes: OTTT)", frameon=False)
        layers.set(xlabel="layer, from the stem to the classifier", title="after the training")
        save(picture, folder, "separability")


if __name__ == "__main__":
    run_cli(main)
