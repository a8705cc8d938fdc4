"""``hmdf-inspect``: a trained model's parameters, membranes, spikes and gradients as tables, JSON and plots."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.console import Console

from .console import console, print_table, run_cli, table
from .documents.files import write
from .documents.inspection import Inspection
from .inspection_plots import draw

if TYPE_CHECKING:
    from hmdf.train.checkpoint import Checkpoint
    from hmdf.train.data import Dataset
    from hmdf.train.insights import GradientComparison, NeuronInsight

# Columns, and what NeuronInsight calls them.
HM_DF = {"lambda": "leak", "theta": "threshold", "alpha": "alpha", "beta": "beta"}
LM_H = {
    "mu_D": "dendrite_leak",
    "mu_S": "dendrite_feedback",
    "lambda_S": "soma_leak",
    "lambda_D": "soma_drive",
    "theta": "threshold",
}
SAMPLES = 256
MINI_BATCHES = 4


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|FILE.npz|FOLDER", help="Data  [default: what the model was trained on]")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of named data sets  [default: HMDF_DATA]")
@click.option("--batch-size", type=click.IntRange(2), default=64, show_default=True, help="Samples of a gradient.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads  [default: all]")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
def inspect_command(
    model: Path, data: str | None, data_root: Path | None, batch_size: int, threads: int | None, out: Path
) -> None:
    """Show what MODEL has learned: parameters, membranes, spikes and gradients on test samples, as tables and plots."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    inspect_model(model, data, data_root, batch_size, out, console())


def inspect_model(
    path: Path, data: str | None, data_root: Path | None, batch_size: int, out: Path, screen: Console
) -> None:
    """Print the tables; write insight.json and the plots to ``out``.

    Neurons are observed on up to 256 samples of the test split, evenly spread over it; gradients are compared on up to
    four mini-batches of ``batch_size`` of them, for the model and for the same network untrained.
    """
    import torch

    from hmdf.train import checkpoint
    from hmdf.train.inspection import compare_gradients, observe
    from hmdf.train.networks import build

    found = checkpoint.load(path)
    samples = _samples(found, data, data_root)
    x, labels = _normalised(found, samples)
    model, steps = found.build(), found.network.time_steps
    neurons = observe(model, x, steps)
    batches = [pair for pair in zip(x.split(batch_size), labels.split(batch_size), strict=True) if len(pair[1]) > 1]
    with torch.random.fork_rng():
        torch.manual_seed(int(found.training.get("seed", 0)))
        untrained = build(found.network)
    gradients = compare_gradients(model, batches[:MINI_BATCHES], steps)
    before = compare_gradients(untrained, batches[:MINI_BATCHES], steps)
    sizes = [len(pair[1]) for pair in batches[:MINI_BATCHES]]
    known = str(path), found.network.to_dict(), samples.name, len(samples), sizes
    document = Inspection(*known, neurons, gradients, before)
    screen.print(f"{found.network.name} on {len(samples)} test samples of {samples.name}")
    print_table(screen, _neuron_table(neurons))
    screen.print()
    print_table(screen, _gradient_table(gradients, before))
    write(out / "insight.json", document)
    paths = [out / "insight.json", *draw(neurons, gradients, before, out)]
    screen.print(f"\nwrote {', '.join(str(path) for path in paths)}")


def _samples(found: Checkpoint, data: str | None, data_root: Path | None) -> Dataset:
    """Samples of the test split, evenly spread over it, checked against the network."""
    from hmdf.train.config import TrainingConfig
    from hmdf.train.data import load
    from hmdf.train.data.registry import one_frame_per_step
    from hmdf.train.errors import DataError
    from hmdf.train.launch import check_fit

    name = data or found.dataset
    try:
        everything = load(one_frame_per_step(name, found.network.time_steps), "test", data_root)
    except DataError as error:
        if data is not None:
            raise
        raise DataError(f"the model was trained on {name!r}, which cannot be loaded: {error}; give --data") from None
    check_fit(found.network, TrainingConfig(batch_size=2), everything, everything)
    chosen = np.unique(np.linspace(0, len(everything) - 1, min(SAMPLES, len(everything))).astype(np.int64))
    return dataclasses.replace(everything, inputs=everything.inputs[chosen], labels=everything.labels[chosen])


def _normalised(found: Checkpoint, samples: Dataset) -> tuple[Any, Any]:
    """Tensors of the inputs as the model takes them, and of the labels."""
    import torch

    from hmdf.train.data import normalise

    return torch.from_numpy(normalise(samples.inputs, found.preprocessing)), torch.from_numpy(samples.labels)


def _neuron_table(neurons: Sequence[NeuronInsight]) -> Any:
    """One row per layer and step; what belongs to the layer stands in its first row."""
    learned = LM_H if any(layer.factors for layer in neurons) else HM_DF
    grid = table("neurons", "step", *learned, "firing", "m - theta", "spread", "steady")
    for layer in neurons:
        for step in range(len(layer.threshold)):
            first = step == 0
            grid.add_row(
                layer.name if first else "",
                str(step),
                *(_entry(layer.learned(name), step) for name in learned.values()),
                f"{layer.firing_rate[step]:.1%}",
                f"{layer.margin_mean[step]:.3f}",
                f"{layer.margin_std[step]:.3f}",
                f"{layer.steady:.1%}" if first else "",
            )
    return grid


def _gradient_table(gradients: Sequence[GradientComparison], untrained: Sequence[GradientComparison]) -> Any:
    columns = "weights", "cosine online/STBP", "smallest", "largest", "untrained", "length online/STBP"
    grid = table(*columns)
    for layer, before in zip(gradients, untrained, strict=True):
        cosines = known(layer.cosine)
        extremes = (f"{min(cosines):.4f}", f"{max(cosines):.4f}") if cosines else ("", "")
        grid.add_row(layer.name, _mean(layer.cosine), *extremes, _mean(before.cosine), _mean(layer.ratio))
    return grid


def known(values: Sequence[float | None]) -> list[float]:
    """The values that there are."""
    return [value for value in values if value is not None]


def _mean(values: Sequence[float | None]) -> str:
    numbers = known(values)
    return f"{sum(numbers) / len(numbers):.4f}" if numbers else ""


def _entry(values: Sequence[float] | None, step: int) -> str:
    return "" if values is None else f"{values[step]:.3f}"


def main() -> None:
    """Entry point of ``hmdf-inspect``."""
    run_cli(inspect_command)


if __name__ == "__main__":
    main()
