"""Runs that are killed and go on."""

import csv
import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from processes import Child

from hmdf.train import checkpoint, trainer
from hmdf.train.config import TrainingConfig
from hmdf.train.data import Dataset, load
from hmdf.train.errors import ModelError, TrainingError
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.progress import Progress
from hmdf.train.trainer import train

SPEC = NetworkSpec("small", (1, 8, 8), 10, width=4)
TRAIN, TEST = load("digits", "train"), load("digits", "test")
CONFIG = TrainingConfig(epochs=1, batch_size=512)


class Tell(Progress):
    def batch(self, epoch, samples, total, loss, accuracy):
        print(epoch, samples, flush=True)


def train_slowly(out: Path) -> None:
    """Trains on digits, saving after every mini-batch, and prints a line for each."""
    torch.set_num_threads(1)
    config = TrainingConfig(epochs=3, batch_size=256, crop=1, mixup=0.5, seed=3, accumulate=2)
    train(SPEC, config, TRAIN, TEST, out, Tell(), True, 0.0)


def lines_of(child: Child, kill_after: int | None = None) -> list[str]:
    """What the run prints; after ``kill_after`` lines it is killed, without a chance to put anything in order."""
    lines = []
    for line in child.lines():
        lines.append(line)
        if len(lines) == kill_after:
            child.process.kill()
    assert child.process.exitcode == (0 if kill_after is None else -9), lines[-20:]
    return lines


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path):
    whole = Child(train_slowly, tmp_path / "whole")
    broken = [lines_of(Child(train_slowly, tmp_path / "broken"), kills) for kills in (3, 5)]
    broken.append(lines_of(Child(train_slowly, tmp_path / "broken")))
    uninterrupted = lines_of(whole)
    assert len(uninterrupted) == 3 * 6
    assert len(broken[2]) < 3 * 6 - 3, "the run began anew instead of going on"
    assert [part[0] == "1 256" for part in broken] == [True, False, False]
    for name in ("model.pt", "resume.pt"):
        one, other = (checkpoint.load(tmp_path / folder / name) for folder in ("whole", "broken"))
        assert all(torch.equal(tensor, other.state[key]) for key, tensor in one.state.items())
        assert one.metrics["test_loss"] == other.metrics["test_loss"]
        assert one.metrics["train_loss"] == other.metrics["train_loss"]
    rows = [(tmp_path / folder / "metrics.csv").read_text().splitlines() for folder in ("whole", "broken")]
    without_seconds = [[row.rpartition(",")[0] for row in table] for table in rows]
    assert without_seconds[0] == without_seconds[1]
    assert {path.name for path in (tmp_path / "broken").iterdir()} == {"model.pt", "resume.pt", "metrics.csv"}


def test_other_options_cannot_go_on(tmp_path):
    train(SPEC, CONFIG, TRAIN, TEST, tmp_path)
    for spec, config, message in (
        (SPEC, TrainingConfig(epochs=1, batch_size=256), r"resume\.pt: .* batch_size = 512, now it is 256"),
        (NetworkSpec("small", (1, 8, 8), 10, width=5), CONFIG, "width = 4, now it is 5"),
    ):
        with pytest.raises(ModelError, match=message):
            train(spec, config, TRAIN, TEST, tmp_path, resume=True)
    (tmp_path / "resume.pt").write_bytes((tmp_path / "model.pt").read_bytes())
    with pytest.raises(ModelError, match=r"resume\.pt: .*samples"):
        train(SPEC, CONFIG, TRAIN, TEST, tmp_path, resume=True)


def test_a_run_can_be_made_longer(tmp_path):
    train(SPEC, CONFIG, TRAIN, TEST, tmp_path)
    longer = TrainingConfig(epochs=2, batch_size=512)
    train(SPEC, longer, TRAIN, TEST, tmp_path, resume=True)
    with open(tmp_path / "metrics.csv") as stream:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(stream)]
    assert rates == [CONFIG.learning_rate_at(0.5), longer.learning_rate_at(1.5)]
    assert checkpoint.load(tmp_path / "model.pt").training["epochs"] == 2


@pytest.mark.parametrize("change", [{"crop": 2}, {"cutout": 2}, {"learning_rate": 0.01}])
def test_a_run_can_go_on_with_other_rates_and_augmentation(tmp_path, change):
    train(SPEC, CONFIG, TRAIN, TEST, tmp_path / "changed")
    shutil.copytree(tmp_path / "changed", tmp_path / "same")
    plain = TrainingConfig(epochs=2, batch_size=512)
    same = train(SPEC, plain, TRAIN, TEST, tmp_path / "same", resume=True)
    changed = train(SPEC, dataclasses.replace(plain, **change), TRAIN, TEST, tmp_path / "changed", resume=True)
    assert changed.training == {**same.training, **change}
    assert any(not torch.equal(tensor, same.state[key]) for key, tensor in changed.state.items())


def test_a_finished_run_stays_as_it_is(tmp_path):
    first = train(SPEC, CONFIG, TRAIN, TEST, tmp_path)
    (tmp_path / "model.pt").unlink()  # as if the run had ended between the two writes
    again = train(SPEC, CONFIG, TRAIN, TEST, tmp_path, resume=True)
    assert all(torch.equal(tensor, again.state[key]) for key, tensor in first.state.items())
    assert checkpoint.load(tmp_path / "model.pt").metrics == dict(first.metrics)


def test_divergence_names_the_last_good_checkpoint(tmp_path):
    config = TrainingConfig(epochs=3, batch_size=512, learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(TrainingError, match=r"epoch 1, mini-batch \d: .* time-step \d.*last good checkpoint: none yet"):
        train(SPEC, config, TRAIN, TEST, tmp_path)
    train(SPEC, CONFIG, TRAIN, TEST, tmp_path)
    # one good epoch, then a learning rate that no one survives
    good = checkpoint.load(tmp_path / "resume.pt")
    training = {**good.training, **vars(config)}
    checkpoint.save(tmp_path / "resume.pt", dataclasses.replace(good, training=training))
    with pytest.raises(TrainingError, match=r"last good checkpoint: .*resume\.pt \(epoch 1 complete\)"):
        train(SPEC, config, TRAIN, TEST, tmp_path, resume=True)
    kept = checkpoint.load(tmp_path / "resume.pt")
    assert all(torch.equal(tensor, kept.state[key]) for key, tensor in good.state.items())


class Until(Progress):
    """Interrupts a run at the end of an epoch, after it was told of it."""

    def __init__(self, epoch: int) -> None:
        self.last = epoch

    def epoch(self, metrics):
        if metrics.epoch == self.last:
            raise KeyboardInterrupt


SHORT = TrainingConfig(epochs=5, batch_size=256)


def test_an_interrupted_run_leaves_its_last_epoch_however_seldom_it_saves(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "SAVE_SHARE", 1e-9)
    with pytest.raises(KeyboardInterrupt):
        train(SPEC, SHORT, TRAIN, TEST, tmp_path, Until(3))
    assert len(checkpoint.load(tmp_path / "resume.pt").resume["history"]) == 3
    assert checkpoint.load(tmp_path / "model.pt").metrics["epoch"] == 3
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 4
    broken = train(SPEC, SHORT, TRAIN, TEST, tmp_path, resume=True)
    whole = train(SPEC, SHORT, TRAIN, TEST)
    assert all(torch.equal(tensor, broken.state[name]) for name, tensor in whole.state.items())


def test_a_run_killed_after_epochs_that_were_not_saved_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "SAVE_SHARE", 1e-9)
    saved = []
    save = trainer.TrainingRun._save_pending

    def killed_later(run):
        if not saved:  # whatever it would write after the first epoch, a killed run does not
            saved.append(run.epoch - 1)
            save(run)

    monkeypatch.setattr(trainer.TrainingRun, "_save_pending", killed_later)
    with pytest.raises(KeyboardInterrupt):
        train(SPEC, SHORT, TRAIN, TEST, tmp_path, Until(3))
    assert saved == [1]
    assert len(checkpoint.load(tmp_path / "resume.pt").resume["history"]) == 1
    monkeypatch.undo()
    broken = train(SPEC, SHORT, TRAIN, TEST, tmp_path, resume=True)
    whole = train(SPEC, SHORT, TRAIN, TEST)
    assert all(torch.equal(tensor, broken.state[name]) for name, tensor in whole.state.items())
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 6


def test_an_epoch_saved_late_does_not_replace_a_later_point(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "SAVE_SHARE", 1e-9)
    written = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda path, point: (written.append((path.name, point)), save(path, point)))

    class Stop(Progress):
        def batch(self, epoch, samples, total, loss, accuracy):
            if epoch == 3:  # from here on, save after every mini-batch
                monkeypatch.setattr(run, "save_interval", 0.0)
                if samples > 600:
                    raise KeyboardInterrupt

    fabric = Fabric(accelerator="cpu", devices=1)
    run = trainer.TrainingRun(fabric, SPEC, SHORT, TRAIN, TEST, tmp_path, Stop(), 300.0)
    with pytest.raises(KeyboardInterrupt):
        run.to_the_end()
    points = [
        (len(point.resume["history"]), point.resume["next_batch"]) for name, point in written if name == "resume.pt"
    ]
    assert points == [(1, 0), (2, 0), (2, 1), (2, 2)]
    assert checkpoint.load(tmp_path / "model.pt").metrics["epoch"] == 2


def few(data: Dataset, samples: int) -> Dataset:
    return dataclasses.replace(data, inputs=data.inputs[:samples], labels=data.labels[:samples])


FEW = few(TRAIN, 80), few(TEST, 40)
LM_H = NetworkSpec("small", (1, 8, 8), 10, time_steps=2, width=4, neuron="lm-h")
RADICAL = dataclasses.replace(LM_H, neuron="lm-h-radical", norm="each")
DROPOUT = dataclasses.replace(LM_H, name="resnet19-wide", width=2, time_steps=1)


class AfterTwo(Progress):
    """Interrupts a run in its second epoch, after a point within it was saved."""

    def batch(self, epoch: int, samples: int, total: int, loss: float, accuracy: float) -> None:
        if (epoch, samples) == (2, 64):
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        (LM_H, {"backprop": "stbp"}),
        (dataclasses.replace(LM_H, norm="time"), {"backprop": "stbp", "loss": "mean"}),
        (RADICAL, {"backprop": "slices", "slice": 1}),
        (dataclasses.replace(LM_H, learn_factors=False, weights="float"), {"backprop": "every", "sparsify": 0.05}),
        (DROPOUT, {"backprop": "stbp", "accumulate": 2}),
    ],
    ids=["stbp", "time", "slices", "fixed", "dropout"],
)
def test_every_way_of_training_goes_on_to_the_same_weights(tmp_path, spec, options):
    config = TrainingConfig(epochs=2, batch_size=32, **options)
    start = None if spec != LM_H else build(spec).state_dict()
    whole = train(spec, config, *FEW, start=start)
    torch.rand(7)  # what a process has drawn before does not matter
    with pytest.raises(KeyboardInterrupt):
        train(spec, config, *FEW, tmp_path, AfterTwo(), save_interval=0.0, start=start)
    assert checkpoint.load(tmp_path / "resume.pt").resume["next_batch"] == 1
    resumed = train(spec, config, *FEW, tmp_path, resume=True, start=start)
    assert all(torch.equal(tensor, resumed.state[name]) for name, tensor in whole.state.items())
    if start is not None:
        start["stem.weight"] = start["stem.weight"] + 1
        with pytest.raises(ModelError, match="cannot go on: the run did not start from this model"):
            train(spec, config, *FEW, tmp_path, resume=True, start=start)
    if not spec.learn_factors:
        assert not any(tensor.any() for name, tensor in whole.state.items() if name.endswith("_logit"))


def test_each_process_and_part_draws_masks_of_its_own(monkeypatch):
    run = trainer.TrainingRun(Fabric(accelerator="cpu", devices=1), DROPOUT, CONFIG, *FEW, None, Progress(), 300.0)
    (batch,) = run.batches.of_epoch(1)
    drawn = []
    for rank, part in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 0)):
        monkeypatch.setattr(run, "rank", rank)
        run.config = dataclasses.replace(CONFIG, accumulate=2)
        run._seed(batch, part)
        drawn.append(float(torch.rand(())))
    assert len(set(drawn)) == 4
    assert drawn[4] == drawn[0]
