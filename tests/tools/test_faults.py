"""One folder, one command; no memory, one message. What failing writes leave is in benchmarks/faults.py."""

import fcntl
import os
import re
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--data", "digits", "--epochs", "1"],
        ["compile", "MODEL", "--samples", "8", "--emit", "hmdf"],
        ["explore", "MODEL", "--data", "digits", "--bits", "2", "--steps", "1"],
    ],
)
def test_two_commands_do_not_write_to_one_folder(call, demo, tmp_path, command):
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    outcome = call(*[demo.model if part == "MODEL" else part for part in command], "--out", tmp_path)
    os.close(held)
    assert outcome.code == 3
    assert outcome.err == f"error: {tmp_path}: another command is writing to it; wait, or give another --out\n"
    assert not list(tmp_path.iterdir())


def test_without_memory_there_is_one_message(call, demo, monkeypatch):
    def load(path):
        raise MemoryError

    monkeypatch.setattr("hmdf.sim.storage.load", load)
    outcome = call("sim", demo.program)
    assert (outcome.code, outcome.err) == (1, "error: out of memory; nothing that was complete is lost\n")


MEMORY = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"
GPU = "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported"
PEER = "[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:29500"
LOSSES = {
    "memory": (MEMORY, "out of memory"),
    "gpu": (GPU, "the GPU failed (CUDA error: unspecified launch failure)"),
    "process": (PEER, f"another process of the run ended ({PEER})"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_in_training_is_one_message_and_the_run_goes_on(call, tmp_path, monkeypatch, loss):
    """After the first epoch, which is not saved by then, torch says that something is gone."""
    from hmdf.train import checkpoint, trainer

    command = ["train", "--data", "digits", "--width", "2", "--time-steps", "1", "--epochs", "3", "--batch-size", "512"]
    command += ["--threads", "1", "--resume", "--out", tmp_path]
    train_on, (said, message) = trainer.TrainingRun.train_on, LOSSES[loss]

    def fail(run, batch):
        if run.epoch == 3:
            raise RuntimeError(said)
        train_on(run, batch)

    monkeypatch.setattr(trainer, "SAVE_SHARE", 1e-9)
    monkeypatch.setattr(trainer.TrainingRun, "train_on", fail)
    outcome = call(*command)
    where = f"{tmp_path / 'resume.pt'} (epoch 2 complete)"
    error = f"error: {message}; last good checkpoint: {where}; --resume goes on from there\n"
    assert (outcome.code, outcome.err) == (1, error)
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "resume.pt", "metrics.csv"}
    assert len(checkpoint.load(tmp_path / "resume.pt").resume["history"]) == 2
    monkeypatch.undo()
    if loss == "gpu":
        assert call(*command).code == 0
        assert checkpoint.load(tmp_path / "model.pt").metrics["epoch"] == 3


def test_a_worker_without_memory_is_one_message(call, demo, tmp_path, monkeypatch):
    from hmdf.train.batches import MiniBatches

    def read(batches, epoch, number):
        raise RuntimeError(MEMORY)

    monkeypatch.setattr(MiniBatches, "read", read)
    outcome = call("train", "--data", "digits", "--epochs", "1", "--workers", "1", "--out", tmp_path)
    message = "error: a worker process: out of memory; --resume with fewer --workers goes on\n"
    assert (outcome.code, outcome.err, list(tmp_path.iterdir())) == (1, message, [])


def test_a_clock_that_jumps_back_changes_nothing(call, demo, tmp_path, monkeypatch):
    import itertools
    import time

    clock = itertools.count(2e9, -1e6)  # every look at it is eleven days before the last
    monkeypatch.setattr(time, "time", lambda: next(clock))
    train = ["train", "--data", "digits", "--width", "2", "--time-steps", "1", "--epochs", "2", "--threads", "1"]
    assert call(*train, "--out", tmp_path).code == 0
    rows = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    assert all(float(row.rpartition(",")[2]) >= 0 for row in rows)
    assert call("sim", demo.program, "--samples", "8", "--json", tmp_path / "out.json").code == 0
    figures = re.findall(r'"\w*seconds?": (\S+?),?\n', (tmp_path / "out.json").read_text())
    assert figures
    assert min(map(float, figures)) > 0


def test_no_result_depends_on_the_clock():
    """A clock that jumps changes nothing but when a run is said to have finished."""
    root = Path(__file__).parents[2]
    files = [
        path for folder in ("train", "sim", "hw_targets", "export", "tools") for path in (root / folder).rglob("*.py")
    ]
    reading = [path for path in files if re.search(r"\btime\.time\(|\.now\(|\.today\(|\butcnow\(", path.read_text())]
    assert [path.relative_to(root).as_posix() for path in reading] == ["tools/simulation/counts.py"]
