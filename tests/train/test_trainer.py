import csv
import dataclasses
import re

import numpy as np
import pytest
import torch

from hmdf.train import checkpoint, trainer
from hmdf.train.data import Dataset, load
from hmdf.train.errors import DataError, ModelError, TrainingError
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.networks.small import SmallNet
from hmdf.train.online import run, run_folded
from hmdf.train.optimiser import Optimiser
from hmdf.train.trainer import EpochMetrics, Progress, TrainingConfig, evaluate, train

SPEC = NetworkSpec("small", (1, 8, 8), 10, width=8)


def digits(split: str, samples: int) -> Dataset:
    data = load("digits", split)
    return dataclasses.replace(data, inputs=data.inputs[:samples], labels=data.labels[:samples])


TRAIN, TEST = digits("train", 200), digits("test", 100)


def states(**changes) -> dict[str, torch.Tensor]:
    config = TrainingConfig(**{"epochs": 2, "batch_size": 32, "crop": 1, **changes})
    return dict(train(SPEC, config, TRAIN, TEST).state)


@pytest.mark.parametrize("backprop", ["random", "every", "stbp"])
def test_a_run_repeats_exactly(backprop):
    first, second = states(backprop=backprop), states(backprop=backprop)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = states(backprop=backprop, seed=1)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


def states_of(spec: NetworkSpec, **changes) -> dict[str, torch.Tensor]:
    return dict(train(spec, TrainingConfig(epochs=1, batch_size=64, **changes), TRAIN, TEST).state)


def test_a_run_in_one_slice_of_all_steps_is_that_of_stbp():
    spec = dataclasses.replace(SPEC, neuron="lm-h", time_steps=3)
    stbp, slices = states_of(spec, backprop="stbp"), states_of(spec, backprop="slices", slice=3)
    assert all(torch.equal(stbp[name], slices[name]) for name in stbp)
    shorter = states_of(spec, backprop="slices", slice=2)
    assert not torch.equal(stbp["stem.weight"], shorter["stem.weight"])


def test_slices_update_the_weights_in_between(monkeypatch):
    updates = []
    monkeypatch.setattr(Optimiser, "step", lambda self: updates.append(1))
    states_of(dataclasses.replace(SPEC, time_steps=5), backprop="slices", slice=2)
    assert len(updates) == 3 * 4  # steps 0 and 1, 2 and 3, 4 of mini-batches of 64, 64, 64 and 8 samples


def test_a_slice_that_is_not_finite_stops_the_run():
    spec = dataclasses.replace(SPEC, neuron="lm-h")
    with pytest.raises(TrainingError, match=r"mini-batch \d+: .*(layer|loss)"):
        states_of(spec, backprop="slices", learning_rate=1e30, warmup_epochs=0)


def test_normalisation_over_time_makes_a_network_that_runs_step_by_step():
    spec = dataclasses.replace(SPEC, neuron="lm-h", norm="time")
    result = train(spec, TrainingConfig(epochs=1, batch_size=64, backprop="stbp"), TRAIN, TEST)
    model, x = result.build(), torch.from_numpy(TEST.inputs[:8]).float() / 16
    with torch.no_grad():
        assert torch.allclose(run(model, x, 4), run_folded(model, x, 4), atol=1e-5)


@pytest.mark.parametrize(
    ("network", "training", "message"),
    [
        ({"norm": "time"}, {"backprop": "every"}, "norm 'time' needs all time-steps at once"),
        (
            {"time_steps": 3},
            {"backprop": "slices", "slice": 4},
            "a slice of 4 time-steps is longer than the 3 there are",
        ),
        ({"weights": "float"}, {"optimizer": "muon"}, "'muon' is for low-bit weights"),
    ],
)
def test_what_does_not_go_together_is_refused(network, training, message):
    with pytest.raises(ModelError, match=message):
        states_of(dataclasses.replace(SPEC, **network), **training)


def test_nesterov_is_a_choice():
    spec = dataclasses.replace(SPEC, neuron="parallel")
    assert not torch.equal(states_of(spec)["stem.weight"], states_of(spec, nesterov=False)["stem.weight"])


def test_digits_are_learned():
    train_data, test_data = load("digits", "train"), load("digits", "test")
    spec = dataclasses.replace(SPEC, width=16)
    result = train(spec, TrainingConfig(epochs=5, batch_size=64), train_data, test_data)
    assert result.metrics["test_accuracy"] >= 0.97
    _, accuracy = evaluate(result.build(), test_data, spec.time_steps)
    assert accuracy == result.metrics["test_accuracy"]


def test_files_and_progress(tmp_path):
    epochs, batches = [], []

    class Record(Progress):
        def epoch(self, metrics: EpochMetrics) -> None:
            assert checkpoint.load(tmp_path / "model.pt").metrics["epoch"] == metrics.epoch
            epochs.append(metrics)

        def batch(self, epoch: int, samples: int, total: int, loss: float, accuracy: float) -> None:
            batches.append((epoch, samples, total))

    train(SPEC, TrainingConfig(epochs=2, batch_size=64), TRAIN, TEST, tmp_path, Record())
    assert batches == [(epoch, samples, 200) for epoch in (1, 2) for samples in (64, 128, 192, 200)]
    with open(tmp_path / "metrics.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["test_accuracy"]) for row in rows] == [metrics.test_accuracy for metrics in epochs]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "model.pt", "resume.pt"]
    loaded = checkpoint.load(tmp_path / "model.pt")
    assert loaded.network == SPEC
    assert TrainingConfig(**loaded.training) == TrainingConfig(epochs=2, batch_size=64)
    assert evaluate(loaded.build(), TEST, 4)[1] == epochs[-1].test_accuracy


def test_bf16_trains():
    assert all(tensor.isfinite().all() for tensor in states(precision="bf16-mixed", epochs=1).values())


def test_divergence_stops_the_run():
    with pytest.raises(TrainingError, match=r"epoch 1, mini-batch \d+: .*(layer|loss)"):
        states(learning_rate=1e30, warmup_epochs=0)


def test_infinite_mixture_survives_training():
    """alpha = 1 and beta = 0 have infinite parameters, which no weight decay may turn into NaN."""
    model = build(SPEC)
    model.block.act1.set_mixture(1.0, 0.0)
    optimiser = Optimiser(model, TrainingConfig())
    for _ in range(3):
        model(torch.randn(4, 1, 8, 8)).sum().backward()
        optimiser.step()
    assert model.block.act1.alpha()[0] == 1.0
    assert model.block.act1.beta()[0] == 0.0


def test_small_images_in_the_first_epochs(monkeypatch):
    seen = []
    forward = SmallNet.forward

    def watch(self, x):
        seen.append((self.training, x.shape[-2:]))
        return forward(self, x)

    monkeypatch.setattr(SmallNet, "forward", watch)
    states(epochs=2, batch_size=512, small_size=6, small_epochs=1)
    assert [size for training, size in seen if not training] == [(8, 8)] * len([1 for t, _ in seen if not t])
    sizes = [tuple(size) for training, size in seen if training]
    assert set(sizes[: len(sizes) // 3]) == {(6, 6)}
    assert sizes[-1] == (8, 8)


def test_small_images_need_a_global_pool():
    spec = NetworkSpec("vgg-snn", (1, 16, 16), 10, width=4)
    data = dataclasses.replace(TRAIN, inputs=np.zeros((200, 1, 16, 16), np.uint8))
    with pytest.raises(DataError, match="global average pool"):
        train(spec, TrainingConfig(epochs=1, small_size=8, small_epochs=1), data, data)


def test_tests_are_as_rare_as_wanted(tmp_path):
    seen = []
    report = Progress()
    report.epoch = seen.append
    train(SPEC, TrainingConfig(epochs=3, test_every=2), TRAIN, TEST, out=tmp_path, progress=report)
    assert [metrics.test_accuracy is None for metrics in seen] == [True, False, False]
    with open(tmp_path / "metrics.csv") as stream:
        assert [row["test_loss"] == "" for row in csv.DictReader(stream)] == [True, False, False]


def test_learning_rate_schedule():
    config = TrainingConfig(epochs=11, warmup_epochs=1, learning_rate=0.2)
    assert config.learning_rate_at(0.5) == pytest.approx(0.1, rel=0.01)
    assert config.learning_rate_at(1) == pytest.approx(0.2)
    assert config.learning_rate_at(6) == pytest.approx(0.1)
    assert config.learning_rate_at(11) == pytest.approx(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_shape": (1, 9, 8)}, r"images are \(1, 8, 8\) but the network takes \(1, 9, 8\)"),
        ({"classes": 11}, "10 classes but the network has 11"),
    ],
)
def test_data_that_do_not_fit_the_network(change, message):
    with pytest.raises(DataError, match=message):
        train(dataclasses.replace(SPEC, **change), TrainingConfig(epochs=1), TRAIN, TEST)


def test_too_few_frames():
    frames = np.repeat(TRAIN.inputs[:, None], 3, axis=1)
    events = dataclasses.replace(TRAIN, inputs=frames)
    with pytest.raises(DataError, match="3 frames per sample"):
        train(SPEC, TrainingConfig(epochs=1), events, events)
    train(dataclasses.replace(SPEC, time_steps=3, event=True), TrainingConfig(epochs=1), events, events)


def test_accumulation_adds_up_to_the_mini_batch():
    """One step on one mini-batch, whole and in four parts."""
    results = []
    for accumulate in (1, 4):
        config = TrainingConfig(epochs=1, batch_size=200, accumulate=accumulate, learning_rate=0.05, warmup_epochs=0)
        results.append(train(SPEC, config, TRAIN, TEST))
    one, parts = results
    assert one.metrics["train_loss"] == pytest.approx(parts.metrics["train_loss"], rel=0.05)
    # BatchNorm sees smaller batches, so the steps differ, but they point the same way
    torch.manual_seed(0)
    start = build(SPEC).state_dict()
    moves = [
        torch.cat([(r.state[k] - start[k]).flatten() for k in start if k.endswith("conv.weight")]) for r in results
    ]
    assert float(torch.cosine_similarity(*moves, dim=0)) > 0.9


@pytest.mark.parametrize("options", [{"batch_size": 6, "accumulate": 4}, {"batch_size": 1000, "accumulate": 101}])
def test_parts_too_small_for_a_batch_norm(options):
    with pytest.raises(DataError, match="need mini-batches of at least"):
        train(SPEC, TrainingConfig(epochs=1, **options), TRAIN, TEST)


def test_tensorboard_log(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from hmdf.train.progress import TensorBoardLog

    result = train(
        SPEC, TrainingConfig(epochs=2, batch_size=100), TRAIN, TEST, None, TensorBoardLog(tmp_path, Progress())
    )
    log = EventAccumulator(str(tmp_path))
    log.Reload()
    points = log.Scalars("test_accuracy")
    assert [point.step for point in points] == [1, 2]
    assert points[-1].value == pytest.approx(result.metrics["test_accuracy"])


@pytest.mark.parametrize(("growth", "warned"), [(4.0, False), (1.0001, True)])
def test_a_weight_that_grows_while_the_loss_stays_finite_is_named(monkeypatch, growth, warned):
    warnings = []

    class Record(Progress):
        def warning(self, text: str) -> None:
            warnings.append(text)

    monkeypatch.setattr(trainer, "GROWTH", growth)
    train(SPEC, TrainingConfig(epochs=2, batch_size=64, weight_decay=0.0), TRAIN, TEST, progress=Record())
    assert bool(warnings) == warned
    for text in warnings:
        found = re.search(r"weight of '([\w.]+)' grows, its norm went from (\S+) to (\S+);", text)
        name, before, after = found.groups()
        assert name in ("stem", "classifier")
        assert float(after) >= float(before)


@pytest.mark.parametrize(("neuron", "norm", "warned"), [("lm-h", "step", 1), ("lm-h", "each", 0), ("lif", "step", 0)])
def test_running_statistics_that_may_fit_no_step_are_suspected_once(monkeypatch, neuron, norm, warned):
    warnings = []

    class Record(Progress):
        def warning(self, text: str) -> None:
            warnings.append(text)

    monkeypatch.setattr(trainer, "LAG", -1.0)
    spec = dataclasses.replace(SPEC, width=4, time_steps=2, neuron=neuron, norm=norm)
    train(spec, TrainingConfig(epochs=2, batch_size=64, backprop="stbp"), TRAIN, TEST, progress=Record())
    assert len(warnings) == warned
    assert all("points below training's" in text and "--norm time or each" in text for text in warnings)
