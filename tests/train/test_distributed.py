"""Two processes with half a mini-batch each compute what one process computes with the joint one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import Child
from torch import nn

from hmdf.train import checkpoint
from hmdf.train.config import TrainingConfig
from hmdf.train.data import load
from hmdf.train.distributed import JointBatchNorm2d, join_batch_norms
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.trainer import train

MODES = {
    "random": {"backprop": "random"},
    "every": {"backprop": "every"},
    "stbp": {"backprop": "stbp", "label_smoothing": 0.1},
    # parts of two samples less one: the last mini-batch is divided unequally
    "uneven": {"backprop": "random", "batch_size": 17},
}


def train_all(devices: int, out: Path) -> None:
    torch.set_num_threads(1)
    data = load(out / "set.npz", "train"), load(out / "set.npz", "test")
    spec = NetworkSpec("small", (1, 8, 8), 3, width=4, time_steps=3, neuron="mpbn", spike_bits=None)
    for name, options in MODES.items():
        options = {"batch_size": 24, "epochs": 1, "learning_rate": 0.05, "devices": devices, **options}
        train(spec, TrainingConfig(**options), *data, out=out / f"{name}-{devices}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    generator = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = (generator.integers(0, 60, (90, 8, 8)) + 70 * labels[:, None, None]).astype(np.uint8)
    np.savez(folder / "set.npz", images=images, labels=labels)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for devices, rank in ((1, 0), (2, 0), (2, 1)):
        launched = {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(devices), "RANK": str(rank),
            "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test",
        }  # fmt: skip
        children.append(Child(train_all, devices, folder, **(launched if devices > 1 else {})))
    for child in children:
        said = list(child.lines())
        assert child.process.exitcode == 0, "\n".join(said)
    return folder


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_equal_one_with_the_joint_batch(runs, mode):
    one, two = (checkpoint.load(runs / f"{mode}-{devices}" / "model.pt") for devices in (1, 2))
    start = checkpoint.load(runs / f"{mode}-1" / "model.pt").network
    torch.manual_seed(0)
    fresh = build(start).state_dict()
    for name, tensor in one.state.items():
        assert torch.allclose(tensor.double(), two.state[name].double(), atol=2e-4, rtol=2e-4), name
    moved = max(float((fresh[name] - one.state[name]).abs().max()) for name in fresh if name.endswith("conv.weight"))
    assert moved > 0.01, "nothing was learned, so nothing was compared"
    assert one.metrics["train_loss"] == pytest.approx(two.metrics["train_loss"], abs=1e-3)
    assert one.metrics["test_loss"] == pytest.approx(two.metrics["test_loss"], abs=1e-3)


def test_only_the_first_process_writes(runs):
    assert {path.name for path in (runs / "every-2").iterdir()} == {"model.pt", "resume.pt", "metrics.csv"}


def test_the_command_starts_its_own_processes(tmp_path, runs):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "hmdf.tools.train", "--data", str(runs / "set.npz"), "--width", "4", "--epochs", "1",
        "--batch-size", "16", "--devices", "2", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train loss") == 1
    assert checkpoint.load(tmp_path / "run" / "model.pt").training["devices"] == 2


def test_joint_norms_keep_everything_but_the_class():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    before = dict(model.state_dict())
    parameters = [id(parameter) for parameter in model.parameters()]
    join_batch_norms(model)
    assert type(model[1]) is JointBatchNorm2d
    assert [id(parameter) for parameter in model.parameters()] == parameters
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    x = torch.randn(4, 1, 6, 6)
    reference = nn.BatchNorm2d(2)
    assert torch.equal(model(x), reference(model[0](x)))
    assert torch.equal(model[1].running_var, reference.running_var)
