"""The training loop: SGD with momentum, warm-up and cosine schedule, on Lightning Fabric.

A run is a chain of mini-batches of which each follows from the one before and from the seed alone. ``resume.pt`` holds
a point of that chain, so a run that is killed at any moment goes on from there to the same weights, bit for bit on a
CPU with the same number of threads.
"""

import dataclasses
import hashlib
import math
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from . import checkpoint
from .augment import preparation
from .batches import MiniBatch, MiniBatches
from .config import AUGMENTATION, TrainingConfig
from .data import Dataset
from .data.lazy_images import LazyImages
from .distributed import join_batch_norms, leave_at_exit, separate_batches, total_of
from .errors import ModelError, TrainingError, lost
from .evaluation import TEST_BATCH, evaluate, sums_of_test
from .gradients import Gradients
from .graphs import Graphs
from .launch import check_fit, fabric_of, layout
from .networks import NetworkSpec, build
from .online import (
    backward_every,
    backward_random,
    backward_slices,
    backward_stbp,
    find_divergence,
    loss_of_mean,
    run,
    run_folded,
    tet,
)
from .optimiser import Optimiser
from .progress import EpochMetrics, Progress, write_metrics
from .sparsity import Sparsifier, dead_layers, zeros_of
from .synapses import LowBit, quantised_once

__all__ = ["RESUME_FILE", "EpochMetrics", "Progress", "TrainingConfig", "TrainingRun", "evaluate", "layout", "train"]

RESUME_FILE = "resume.pt"
# Seconds between two saves within an epoch.
SAVE_INTERVAL = 300.0
# Of a run's time, that saving at the end of epochs may take: an epoch of a second is not worth a save.
SAVE_SHARE = 0.02
# A real-valued weight whose norm has grown by this factor is worth a warning. Two runs of ResNet-18 that lost accuracy
# had a stem that grew from 17 to 116, and to 57 where others ended at 3 to 6.
GROWTH = 4.0
# By how much an LM-H network's test accuracy may lie below training's before its running statistics are suspected: it
# was 0.46 where they failed (MNIST, norm "step"), and 0.04 at most in two dozen runs on three sets where they did not.
LAG = 0.2
LOSSES = {"tet": tet, "mean": loss_of_mean}
# What an option was before it existed.
DEFAULTS = dataclasses.asdict(TrainingConfig())
# Options that may change between the parts of a run: they do not enter the result, or only by rounding.
FREE_TO_CHANGE = ("accelerator", "devices", "nodes", "test_every", "workers", "cuda_graphs")
# The plan of a run, which may be made longer or shorter, slower, harder: it is the new one from there on.
PLAN = ("epochs", "small_size", "small_epochs", "learning_rate", "muon_learning_rate", *AUGMENTATION)


def train(
    spec: NetworkSpec,
    config: TrainingConfig,
    train_data: Dataset,
    test_data: Dataset,
    out: Path | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    save_interval: float = SAVE_INTERVAL,
    start: Mapping[str, Tensor] | None = None,
) -> checkpoint.Checkpoint:
    """Train a network and return its checkpoint.

    ``out/metrics.csv`` is replaced after every epoch, ``out/model.pt`` and ``out/resume.pt`` too, or less often where
    that would take more than a fiftieth of the time; ``out/resume.pt`` also every ``save_interval`` seconds within an
    epoch. A run that ends early, interrupted or by an error, leaves its last complete epoch. With ``resume`` the run
    goes on from ``out/resume.pt``, or begins if there is none; the numbers of epochs, the peak rates and the
    augmentation may have changed (``PLAN``), no other option that enters the result.

    ``start`` is a state_dict to begin with in the place of random values; the network is then tested before training
    too, which ``out/metrics.csv`` has as epoch 0.

    With more than one device or node the calling program is started once more for each further process (by Fabric's
    launcher, or a cluster's); all return the same checkpoint, the first one writes the files.

    Raises TrainingError when the loss is not finite, naming mini-batch, time-step, layer and the last good checkpoint,
    and DataError when the data do not fit the network.
    """
    check_fit(spec, config, train_data, test_data)
    fabric = fabric_of(config)
    if config.devices * config.nodes > 1:
        fabric.launch()
        leave_at_exit()
    known = fabric, spec, config, train_data, test_data, out, progress or Progress(), save_interval, start
    this_run = TrainingRun(*known)
    if resume:
        this_run.restore()
    return this_run.to_the_end()


class TrainingRun:
    """One training run: the model, its optimiser, and the point that has been reached. ``train`` is what drives it."""

    def __init__(
        self,
        fabric: Fabric,
        spec: NetworkSpec,
        config: TrainingConfig,
        train_data: Dataset,
        test_data: Dataset,
        out: Path | None,
        progress: Progress,
        save_interval: float,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.rank = fabric.global_rank
        self.fabric, self.spec, self.config = fabric, spec, config
        self.train_data, self.test_data = train_data, test_data
        self.out = out if fabric.is_global_zero else None
        self.resume_path = None if out is None else out / RESUME_FILE
        self.progress = progress if fabric.is_global_zero else Progress()
        self.save_interval = save_interval
        torch.manual_seed(config.seed)
        # the layout that low-precision convolutions are fastest in, on CPU and GPU
        self.model = build(spec).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if start is not None:
            self.model.load_state_dict(start)
        self.model.to(fabric.device)
        join_batch_norms(self.model)
        self.network = _Autocast(self.model, fabric)
        self.optimiser = Optimiser(self.model, config)
        self.gradients = Gradients([*self.optimiser.weights, *self.optimiser.scalars])
        self.sparsifier = Sparsifier(self.model, config.sparsify)
        # image files are cut and mirrored as they are decoded, in bytes
        decoded = config.resized_crop and isinstance(train_data.inputs, LazyImages)
        parts_of = (spec.input_shape[-1], config.flip) if decoded else None
        left = dataclasses.replace(config, resized_crop=False, flip=False) if decoded else config
        # worker processes leave the GPU to this one
        where = torch.device("cpu") if config.workers and not (decoded and not left.augments) else fabric.device
        prepare = preparation(spec, left, train_data.preprocessing, where)
        ranks, on_gpu = (fabric.global_rank, fabric.world_size), fabric.device.type == "cuda"
        self.batches = MiniBatches(train_data, left, prepare, *ranks, on_gpu, parts_of)
        # slices change the weights within what would be recorded
        recorded = config.cuda_graphs and fabric.world_size == 1 and config.backprop != "slices"
        self.graphs = Graphs(fabric.device, recorded)
        self.norms = _norms(self.model)
        self.history: list[EpochMetrics] = []
        self.before: EpochMetrics | None = None  # of a start that is not random, as it was
        self.start = None if start is None else _digest(start)
        self.warned_of_lag = False
        self.next_batch = 0
        self.sums = torch.zeros(3, dtype=torch.float64)  # loss, correct ones and samples since the epoch's start
        self.seconds_before = 0.0
        self.saved = "none yet"
        self.pending: checkpoint.Checkpoint | None = None  # the last complete epoch, where it is not saved yet
        self.save_seconds = 0.0  # that the last save of a complete epoch took
        self.started = self.last_save = self.last_epoch_save = time.perf_counter()

    @property
    def epoch(self) -> int:
        """The epoch under way, 1 for the first."""
        return len(self.history) + 1

    def to_the_end(self) -> checkpoint.Checkpoint:
        """Run what is left and return the checkpoint."""
        try:
            with closing(self.batches), self.graphs.stream():
                if self.start is not None and self.before is None:
                    self._test_start()
                while self.epoch <= self.config.epochs:
                    self.started = time.perf_counter()
                    self._rest_of_epoch()
                    self._end_epoch()
        except (RuntimeError, MemoryError) as error:
            if (reason := lost(error)) is None:
                raise
            self._save_pending()
            saved = f"; last good checkpoint: {self.saved}; --resume goes on from there"
            raise TrainingError(f"{reason}{'' if self.out is None else saved}") from None
        finally:
            self._save_pending()
        return self._result(self._checkpoint())

    def _rest_of_epoch(self) -> None:
        self.model.train()
        for batch in self.batches.of_epoch(self.epoch, self.next_batch):
            self.train_on(batch)
            self.next_batch = batch.number + 1
            loss, correct, samples = self.sums.tolist()
            total = len(self.train_data)
            self.progress.batch(self.epoch, int(samples), total, loss / samples, correct / samples)
            if self.out is not None and time.perf_counter() - self.last_save >= self.save_interval:
                self._save_pending()
                self._save(self._point())

    def train_on(self, batch: MiniBatch) -> None:
        """One optimiser step on the joint mini-batch; with slices, one for each of them."""
        epochs = self.epoch - 1 + batch.before / len(self.train_data)
        self.optimiser.set_rate(self.config.schedule(epochs))
        with self.sparsifier.at(epochs / self.config.epochs):
            self.sums += self._in_slices(batch) if self.config.backprop == "slices" else self._at_once(batch)

    def _at_once(self, batch: MiniBatch) -> Tensor:
        """One optimiser step on all parts of a mini-batch; (summed loss, correct ones, samples) of all processes."""
        self.gradients.clear()
        figures = torch.zeros(3, dtype=torch.float64, device=self.fabric.device)
        x = None
        # a recorded part quantises for itself, from the weights as they are then
        with nullcontext() if self.graphs.enabled else quantised_once(self.model):
            for part, (x, labels) in enumerate(batch.prepared(self.batches.prepare, self.fabric.device)):
                self._seed(batch, part)
                figures += self._part(batch, self._sized(x), labels)
        used = self.gradients.finish()
        figures = total_of(figures).cpu()
        if not math.isfinite(float(figures[0])):
            assert x is not None
            raise self._diverged(batch, self._sized(x))
        with self.sparsifier.opened():
            self.graphs.run(("step", used), self.optimiser.step)
        return figures

    def _seed(self, batch: MiniBatch, part: int = 0) -> None:
        """What a forward pass draws (dropout) follows from the mini-batch, the process and its part of it alone.

        Outside of what a CUDA graph records: a replay reads the generator as it is then.
        """
        torch.manual_seed((batch.draw + self.rank * self.config.accumulate + part) % 2**63)

    def _part(self, batch: MiniBatch, x: Tensor, labels: Tensor) -> Tensor:
        """Accumulate the gradient of one part of a mini-batch; (summed loss, correct ones, samples)."""
        steps = self.spec.time_steps
        when = batch.draw % steps if self.config.backprop == "random" else steps
        share = len(labels) / batch.size

        def work(x: Tensor, labels: Tensor) -> tuple[Tensor, frozenset[nn.Parameter]]:
            with quantised_once(self.model):
                loss, logits = self._backprop(x, labels, when, share)
            return _figures(loss, logits, labels), frozenset(self.gradients.used)

        figures, used = self.graphs.run(("part", when, share), work, x, labels)
        self.gradients.used.update(used)
        return figures

    def _in_slices(self, batch: MiniBatch) -> Tensor:
        """An optimiser step for each slice of time; (summed loss, correct ones, samples) of all processes."""
        ((x, labels),) = batch.prepared(self.batches.prepare, self.fabric.device)
        x, share = self._sized(x), len(labels) / batch.size
        self._seed(batch)

        def update(loss: Tensor) -> None:
            if not total_of(loss.detach().clone()).isfinite():  # before the weights follow it
                raise self._diverged(batch, x)
            self.gradients.clear()
            (loss * share).backward()
            self.gradients.finish()
            with self.sparsifier.opened():
                self.optimiser.step()

        lengths, loss_of = (self.spec.time_steps, self.config.slice), LOSSES[self.config.loss]
        loss, logits = backward_slices(self.network, x, labels, *lengths, self._criterion, update, loss_of)
        return total_of(_figures(loss, logits, labels)).cpu()

    def _sized(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) as they are, or shrunk in the first epochs where the options say so."""
        size = self.config.small_size
        if not size or self.epoch > self.config.small_epochs:
            return x
        return functional.interpolate(x, (size, size), mode="bilinear", antialias=True)

    def _backprop(self, x: Tensor, labels: Tensor, when: int, share: float) -> tuple[Tensor, Tensor]:
        """(loss, logits), leaving ``share`` of the gradient in the parameters; ``when``: the drawn step, or T."""

        def backward(loss: Tensor) -> None:
            (loss * share).backward()

        known = self.network, x, labels, when, self._criterion, backward
        if self.config.backprop == "stbp":
            runner = run_folded if self.spec.norm == "time" else run
            return backward_stbp(*known, LOSSES[self.config.loss], runner)
        return backward_random(*known) if self.config.backprop == "random" else backward_every(*known)

    def _criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float(), labels, label_smoothing=self.config.label_smoothing)

    def _end_epoch(self) -> None:
        """Test, where it is time, and write the figures of the epoch."""
        loss, correct, samples = self.sums.tolist()
        last = self.epoch == self.config.epochs
        with self.sparsifier.at(self.epoch / self.config.epochs):
            tested = self._test() if last or self.epoch % self.config.test_every == 0 else (None, None)
            if self.config.sparsify and (dead := dead_layers(self.model)):
                names = ", ".join(f"'{name}'" for name in dead)
                self.progress.warning(
                    f"epoch {self.epoch}: all weights of {names} are 0; a lower --sparsify keeps some"
                )
            if last and self.config.sparsify:
                zeros, weights = zeros_of(self.model)
                self.progress.note(f"{zeros:,} of {weights:,} weights are 0 ({zeros / weights:.2%})")
        metrics = EpochMetrics(
            epoch=self.epoch,
            train_loss=loss / samples,
            train_accuracy=correct / samples,
            test_loss=tested[0],
            test_accuracy=tested[1],
            learning_rate=self.config.learning_rate_at(self.epoch - 0.5),
            seconds=self.seconds_before + time.perf_counter() - self.started,
        )
        self.history.append(metrics)
        self._warn_of_growth()
        self._warn_of_lag(metrics)
        self.next_batch, self.seconds_before = 0, 0.0
        self.sums = torch.zeros_like(self.sums)
        if self.out is not None:
            self.pending = self._point()
            # the first epoch is saved in any case, and tells how long that takes
            wait = min(self.save_seconds / SAVE_SHARE, self.save_interval)
            if last or time.perf_counter() - self.last_epoch_save >= wait:
                self._save_pending()
            self._write_metrics()
        self.progress.epoch(metrics)

    def _test_start(self) -> None:
        """Epoch 0: the network as it was given."""
        started = time.perf_counter()
        loss, accuracy = self._test()
        seconds = time.perf_counter() - started
        self.before = EpochMetrics(0, None, None, loss, accuracy, 0.0, seconds)
        self.progress.epoch(self.before)

    def _write_metrics(self) -> None:
        assert self.out is not None
        before = [] if self.before is None else [self.before]
        write_metrics(self.out / "metrics.csv", [*before, *self.history])

    def _warn_of_growth(self) -> None:
        """A weight can grow without end while the loss stays finite: a BatchNorm behind it hides that."""
        for name, norm in _norms(self.model).items():
            before = self.norms[name]
            if norm > GROWTH * before:
                self.progress.warning(
                    f"epoch {self.epoch - 1}: the weight of '{name}' grows, its norm went from {before:.3g} to "
                    f"{norm:.3g}; a lower --learning-rate or a higher --weight-decay keeps it small"
                )
                self.norms[name] = norm

    def _warn_of_lag(self, metrics: EpochMetrics) -> None:
        """Once: an LM-H neuron's currents differ from step to step, and running statistics of all are those of none."""
        if self.spec.norm != "step" or self.spec.neuron not in ("lm-h", "lm-h-radical") or self.spec.time_steps == 1:
            return
        if metrics.test_accuracy is None or metrics.train_accuracy is None or self.warned_of_lag:
            return
        lag = metrics.train_accuracy - metrics.test_accuracy
        if lag > LAG:
            self.warned_of_lag = True
            self.progress.warning(
                f"epoch {metrics.epoch}: test accuracy is {100 * lag:.0f} points below training's; where that is no "
                "overfitting, running statistics of all time-steps together fit none of them: --norm time or each"
            )

    def _test(self) -> tuple[float, float]:
        """(loss, accuracy) on the test split."""
        ranks = self.fabric.global_rank, self.fabric.world_size
        own = sums_of_test(self.network, self.test_data, self.spec.time_steps, TEST_BATCH, *ranks)
        loss, correct = total_of(torch.tensor(own, dtype=torch.float64, device=self.fabric.device)).tolist()
        if not math.isfinite(loss):
            reason = f"the test loss after epoch {self.epoch} is not finite"
            raise TrainingError(f"training diverged: {reason}; {self._advice()}")
        return loss / len(self.test_data), correct / len(self.test_data)

    def _checkpoint(self) -> checkpoint.Checkpoint:
        """The model as it is; in sparse training with the weights from which that goes on."""
        return checkpoint.Checkpoint(
            network=self.spec,
            preprocessing=self.train_data.preprocessing,
            class_names=self.train_data.class_names,
            dataset=self.train_data.name,
            state={
                name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.model.state_dict().items()
            },
            metrics=dataclasses.asdict(self.history[-1]) if self.history else {},
            training=dataclasses.asdict(self.config),
        )

    def _result(self, point: checkpoint.Checkpoint) -> checkpoint.Checkpoint:
        """The model after a complete epoch, as it is used: without the weights that sparse training cuts off."""
        progress = point.metrics.get("epoch", 0) / self.config.epochs
        return dataclasses.replace(point, resume=None, state=self.sparsifier.applied(point.state, progress))

    def _point(self) -> checkpoint.Checkpoint:
        """The point that has been reached, with all that a run needs to go on from it; no diverged model."""
        weights, scalars = self.optimiser.weights, self.optimiser.scalars
        # the neurons' parameters may be infinite: a mixture of exactly 0 or 1
        if not all(weight.isfinite().all() for weight in weights) or any(scalar.isnan().any() for scalar in scalars):
            raise TrainingError(f"training diverged in epoch {self.epoch}: a weight is not finite; {self._advice()}")
        now = time.perf_counter()
        point = {
            "samples": len(self.train_data),
            "next_batch": self.next_batch,
            "sums": self.sums.tolist(),
            "seconds": self.seconds_before + now - self.started if self.next_batch else 0.0,
            "history": [dataclasses.asdict(metrics) for metrics in self.history],
            "before": None if self.before is None else dataclasses.asdict(self.before),
            "start": self.start,
            "optimizer": _copied(self.optimiser.state_dict()),
        }
        return dataclasses.replace(self._checkpoint(), resume=point)

    def _save(self, point: checkpoint.Checkpoint) -> None:
        """Write ``point`` to resume.pt."""
        assert self.resume_path is not None
        checkpoint.save(self.resume_path, point)
        self.saved = _where(self.resume_path, point)
        self.last_save = time.perf_counter()

    def _save_pending(self) -> None:
        """Save the last complete epoch, unless that is done or some of the next one is saved already."""
        if self.pending is None or self.out is None:
            return
        started = time.perf_counter()
        self._save(self.pending)
        checkpoint.save(self.out / "model.pt", self._result(self.pending))
        self.pending = None  # not before: it may be interrupted
        self.last_epoch_save = time.perf_counter()
        self.save_seconds = self.last_epoch_save - started

    def restore(self) -> None:
        """Go to the point in ``resume.pt``, if there is one."""
        path = self.resume_path
        found = None
        if path is not None and self.fabric.is_global_zero and path.exists():
            for unfinished in path.parent.glob(".*.pt.*"):
                unfinished.unlink(missing_ok=True)
            found = checkpoint.load(path)
        found = self.fabric.broadcast(found)
        if found is None or path is None:
            return
        if found.slim:
            raise ModelError(f"{path}: a slim checkpoint has no state to go on from; train anew without --resume")
        self._check_same_run(path, found)
        self.model.load_state_dict(found.state)
        try:
            point: Mapping[str, Any] = found.resume or {}
            self.optimiser.load_state_dict(point["optimizer"])
            self.history = [EpochMetrics(**metrics) for metrics in point["history"]]
            before = point.get("before")  # not there in files of former versions
            self.before = None if before is None else EpochMetrics(**before)
            self.next_batch, self.seconds_before = int(point["next_batch"]), float(point["seconds"])
            self.sums = torch.tensor(point["sums"], dtype=torch.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: not a point to resume from ({type(error).__name__}: {error})") from None
        self.saved = _where(path, found)
        if self.out is not None and self.history and not self.next_batch:  # it may have ended between two writes
            checkpoint.save(self.out / "model.pt", self._result(self._checkpoint()))
            self._write_metrics()

    def _check_same_run(self, path: Path, found: checkpoint.Checkpoint) -> None:
        now, then = self._checkpoint(), found
        pairs: list[tuple[str, Any, Any]] = [("data", now.dataset, then.dataset)]
        pairs += [("training samples", len(self.train_data), (then.resume or {}).get("samples"))]
        pairs += [(key, value, then.network.to_dict()[key]) for key, value in now.network.to_dict().items()]
        fixed = now.training.keys() - {*FREE_TO_CHANGE, *PLAN}
        pairs += [
            (key, now.training[key], then.training.get(key, DEFAULTS[key])) for key in now.training if key in fixed
        ]
        # not there in files of former versions; a run may go on without what it started from
        if self.start is not None and (then.resume or {}).get("start", self.start) != self.start:
            raise ModelError(f"{path}: cannot go on: the run did not start from this model")
        for key, wanted, written in pairs:
            if wanted != written:
                change = f"written with {key} = {written!r}, now it is {wanted!r}"
                raise ModelError(f"{path}: cannot go on with other options: {change}")

    def _diverged(self, batch: MiniBatch, x: Tensor) -> TrainingError:
        with separate_batches(self.model), self.fabric.autocast():
            reason = find_divergence(self.model, x, self.spec.time_steps)
        where = f"epoch {self.epoch}, mini-batch {batch.number + 1}"
        return TrainingError(f"training diverged in {where}: {reason}; {self._advice()}")

    def _advice(self) -> str:
        """What follows a divergence in its message; the last complete epoch is saved first, to be named in it."""
        self._save_pending()
        return f"last good checkpoint: {self.saved}; try a lower learning rate"


class _Autocast(nn.Module):
    """The model in Fabric's precision; its parameters and names stay those of the model."""

    def __init__(self, model: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.model = model
        self.fabric = fabric

    def forward(self, x: Tensor) -> Tensor:
        with self.fabric.autocast():
            return self.model(x)


def _digest(state: Mapping[str, Tensor]) -> str:
    """Of names and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _figures(loss: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """(summed loss, correct ones, samples), float64, of the mean loss and the logits of some samples."""
    hard_labels = labels if labels.dim() == 1 else labels.argmax(1)
    correct = (logits.argmax(1) == hard_labels).sum()
    samples = torch.full_like(loss, len(labels), dtype=torch.float64)
    return torch.stack([loss.double() * len(labels), correct.double(), samples])


def _norms(model: nn.Module) -> dict[str, float]:
    """Norm of every real-valued weight; the size of a low-bit layer's latent weights says nothing."""
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    return {name: float(m.weight.detach().norm()) for name, m in layers.items() if not isinstance(m, LowBit)}


def _where(path: Path, point: checkpoint.Checkpoint) -> str:
    """How a message names a point to go on from."""
    resume = point.resume or {}
    epochs, batches = len(resume["history"]), resume["next_batch"]
    return (
        f"{path} (epoch {epochs + 1}, {batches} mini-batches done)" if batches else f"{path} (epoch {epochs} complete)"
    )


def _copied(state: Any) -> Any:
    """Nested containers with copies of their tensors, on the CPU."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, Mapping):
        return {key: _copied(value) for key, value in state.items()}
    return [_copied(value) for value in state] if isinstance(state, list | tuple) else state
