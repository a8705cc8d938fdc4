"""The training loop: SGD with Nesterov momentum, warm-up and cosine schedule, on Lightning Fabric."""

import csv
import dataclasses
import io
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from . import checkpoint
from .data import Dataset, normalise
from .errors import DataError, TrainingError
from .networks import NetworkSpec, build
from .online import backward_every, backward_random, backward_stbp, find_divergence, run

__all__ = ["EpochMetrics", "Progress", "TrainingConfig", "evaluate", "train"]


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; plain values, stored in the checkpoint.

    Attributes:
        epochs, batch_size: passes over the training split, samples per mini-batch.
        learning_rate: peak, reached after ``warmup_epochs`` (linear), then a cosine to 0 at the end.
        momentum: of SGD with Nesterov.
        weight_decay: of convolution and linear weights; norms, biases and neuron parameters have none.
        label_smoothing: of the cross-entropy.
        backprop: "random" (one time-step per mini-batch), "every" (all, online) or "stbp" (full unroll).
        shift: augmentation: move each image by up to this many pixels in both directions; raw zeros come in.
        seed: of the initial weights, the order of samples, the drawn steps and the augmentation.
        precision: of Lightning Fabric: "32-true" or "bf16-mixed".
        accelerator: of Lightning Fabric: "cpu", "cuda" or "auto".
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.1
    warmup_epochs: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    backprop: Literal["random", "every", "stbp"] = "random"
    shift: int = 0
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accelerator: str = "cpu"

    def learning_rate_at(self, epoch: float) -> float:
        """Learning rate at a point in time counted in epochs (fractions allowed)."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * (epoch + 1e-3) / self.warmup_epochs
        progress = (epoch - self.warmup_epochs) / max(self.epochs - self.warmup_epochs, 1e-9)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


@dataclass(frozen=True)
class EpochMetrics:
    """One row of metrics.csv. Losses are means per sample, accuracies shares in 0..1.

    ``learning_rate`` is that of the middle of the epoch, ``seconds`` includes the test.

    With random BP the training figures are those of the drawn time-steps' logits; the test sums the logits over T.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    seconds: float


class Progress:
    """What a training run reports; override what you want to see."""

    def batch(self, epoch: int, samples: int, total: int, loss: float, accuracy: float) -> None:
        """After each mini-batch: ``samples`` of ``total`` done; loss and accuracy since the epoch's start."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """After each epoch, its checkpoint written."""


def train(
    spec: NetworkSpec,
    config: TrainingConfig,
    train_data: Dataset,
    test_data: Dataset,
    out: Path | None = None,
    progress: Progress | None = None,
) -> checkpoint.Checkpoint:
    """Train a network and return its checkpoint.

    After every epoch ``out/model.pt`` and ``out/metrics.csv`` are replaced, so an interrupted run leaves the last
    complete epoch. Raises TrainingError when the loss is not finite, naming time-step and layer, and DataError when the
    data do not fit the network.
    """
    _check_data(spec, train_data)
    _check_data(spec, test_data)
    progress = progress or Progress()
    fabric = Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)
    torch.manual_seed(config.seed)
    model = build(spec)
    module, optimizer = fabric.setup(model, _optimizer(model, config))
    history: list[EpochMetrics] = []
    for epoch in range(1, config.epochs + 1):
        start = time.perf_counter()
        train_loss, train_accuracy = _train_epoch(fabric, module, optimizer, spec, config, train_data, epoch, progress)
        test_loss, test_accuracy = evaluate(module, test_data, spec.time_steps, config.batch_size)
        rate = config.learning_rate_at(epoch - 0.5)
        seconds = time.perf_counter() - start
        history.append(EpochMetrics(epoch, train_loss, train_accuracy, test_loss, test_accuracy, rate, seconds))
        result = _result(spec, config, train_data, model, history[-1])
        if out is not None:
            checkpoint.save(out / "model.pt", result)
            _write_metrics(out / "metrics.csv", history)
        progress.epoch(history[-1])
    return result


def evaluate(model: nn.Module, data: Dataset, time_steps: int, batch_size: int = 256) -> tuple[float, float]:
    """(mean cross-entropy of the logits averaged over T, accuracy of the logits summed over T), in eval mode."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    loss = correct = 0.0
    with torch.no_grad():
        for start in range(0, len(data), batch_size):
            chosen = np.arange(start, min(start + batch_size, len(data)))
            x, labels = (part.to(device) for part in _batch(data, chosen))
            logits = run(model, x, time_steps).float().mean(0)
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
    model.train(was_training)
    return loss / len(data), correct / len(data)


def _train_epoch(
    fabric: Fabric,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    spec: NetworkSpec,
    config: TrainingConfig,
    data: Dataset,
    epoch: int,
    progress: Progress,
) -> tuple[float, float]:
    """One pass over ``data``; all random choices follow from the seed and the epoch. Returns mean loss, accuracy."""
    module.train()
    generator = np.random.default_rng([config.seed, epoch])
    step_of = _backward_function(spec, config, fabric, generator)
    loss_sum = correct = samples = 0.0
    for done, chosen in _mini_batches(generator, len(data), config.batch_size):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate_at(epoch - 1 + done / len(data))
        x, labels = (fabric.to_device(part) for part in _batch(data, chosen, config.shift, generator))
        optimizer.zero_grad()
        loss, logits = step_of(module, x, labels)
        if not math.isfinite(float(loss)):
            reason = find_divergence(module, x, spec.time_steps)
            raise TrainingError(f"training diverged in epoch {epoch}: {reason}; try a lower learning rate")
        optimizer.step()
        samples += len(chosen)
        loss_sum += float(loss) * len(chosen)
        correct += int((logits.argmax(1) == labels).sum())
        progress.batch(epoch, int(samples), len(data), loss_sum / samples, correct / samples)
    return loss_sum / samples, correct / samples


def _backward_function(
    spec: NetworkSpec, config: TrainingConfig, fabric: Fabric, generator: np.random.Generator
) -> Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(model, x, labels) -> (loss, logits), leaving the gradient in the parameters."""

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float(), labels, label_smoothing=config.label_smoothing)

    def random_step(model: nn.Module, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        drawn = int(generator.integers(spec.time_steps))
        return backward_random(model, x, labels, drawn, criterion, fabric.backward)

    if config.backprop == "random":
        return random_step
    through_time = backward_every if config.backprop == "every" else backward_stbp
    return lambda model, x, labels: through_time(model, x, labels, spec.time_steps, criterion, fabric.backward)


def _optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Weight decay only where a scale is free: convolution and linear weights.

    Decay would pull the neurons' logits to 0.5 whatever the data say, and turn an infinite one (alpha = 1) into NaN.
    """
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    free = [p for p in model.parameters() if p.dim() < 2]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0)


def _mini_batches(generator: np.random.Generator, size: int, batch_size: int) -> Iterator[tuple[int, Any]]:
    """(samples before, indices) in random order; a last one of a single sample is dropped, BatchNorm cannot use it."""
    order = generator.permutation(size)
    for start in range(0, size, batch_size):
        if size - start > 1:
            yield start, order[start : start + batch_size]


def _batch(
    data: Dataset, chosen: Any, shift: int = 0, generator: np.random.Generator | None = None
) -> tuple[Tensor, Tensor]:
    inputs = data.inputs[chosen]
    if shift and generator is not None:
        inputs = _shifted(inputs, shift, generator)
    return torch.from_numpy(normalise(inputs, data.preprocessing)), torch.from_numpy(data.labels[chosen])


def _shifted(inputs: Any, shift: int, generator: np.random.Generator) -> Any:
    """Each sample moved by its own offset within +-shift pixels; raw zeros come in."""
    padded = np.pad(inputs, [(0, 0)] * (inputs.ndim - 2) + [(shift, shift)] * 2)
    height, width = inputs.shape[-2:]
    offsets = generator.integers(0, 2 * shift + 1, size=(len(inputs), 2))
    return np.stack(
        [sample[..., y : y + height, x : x + width] for sample, (y, x) in zip(padded, offsets, strict=True)]
    )


def _check_data(spec: NetworkSpec, data: Dataset) -> None:
    if data.input_shape != spec.input_shape:
        raise DataError(f"{data.name}: images are {data.input_shape} but the network takes {spec.input_shape}")
    if len(data.class_names) != spec.classes:
        raise DataError(f"{data.name}: {len(data.class_names)} classes but the network has {spec.classes}")
    if data.frames is not None and data.frames < spec.time_steps:
        raise DataError(f"{data.name}: {data.frames} frames per sample, the network needs {spec.time_steps} time-steps")


def _result(
    spec: NetworkSpec, config: TrainingConfig, data: Dataset, model: nn.Module, metrics: EpochMetrics
) -> checkpoint.Checkpoint:
    return checkpoint.Checkpoint(
        network=spec,
        preprocessing=data.preprocessing,
        class_names=data.class_names,
        dataset=data.name,
        state={name: tensor.detach().clone() for name, tensor in model.state_dict().items()},
        metrics=dataclasses.asdict(metrics),
        training=dataclasses.asdict(config),
    )


def _write_metrics(path: Path, history: list[EpochMetrics]) -> None:
    text = io.StringIO()
    rows = csv.DictWriter(text, [field.name for field in dataclasses.fields(EpochMetrics)], lineterminator="\n")
    rows.writeheader()
    rows.writerows(dataclasses.asdict(metrics) for metrics in history)
    beside = path.with_name(f".{path.name}")
    beside.write_text(text.getvalue())
    os.replace(beside, path)
