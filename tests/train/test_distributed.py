"""Two processes with half a mini-batch each compute what one process computes with the joint one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from processes import Child
from torch import nn

from hmdf.tools.train import train_command
from hmdf.train import checkpoint
from hmdf.train.config import TrainingConfig
from hmdf.train.data import load
from hmdf.train.distributed import JointBatchNorm2d, join_batch_norms
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.progress import Progress
from hmdf.train.trainer import train

MODES = {
    "random": {"backprop": "random"},
    "every": {"backprop": "every"},
    "stbp": {"backprop": "stbp", "label_smoothing": 0.1},
    # parts of two samples less one: the last mini-batch is divided unequally
    "uneven": {"backprop": "random", "batch_size": 17},
}


SPEC = NetworkSpec("small", (1, 8, 8), 3, width=4, time_steps=3, neuron="mpbn", spike_bits=None)


def train_all(devices: int, out: Path) -> None:
    torch.set_num_threads(1)
    data = load(out / "set.npz", "train"), load(out / "set.npz", "test")
    for name, options in MODES.items():
        options = {"batch_size": 24, "epochs": 1, "learning_rate": 0.05, "devices": devices, **options}
        train(SPEC, TrainingConfig(**options), *data, out=out / f"{name}-{devices}")


class Tell(Progress):
    def batch(self, epoch, samples, total, loss, accuracy):
        print(samples, flush=True)


def train_again(out: Path) -> None:
    """As train_all in the mode "random", from wherever an earlier one came to; saves every mini-batch."""
    torch.set_num_threads(1)
    data = load(out / "set.npz", "train"), load(out / "set.npz", "test")
    config = TrainingConfig(batch_size=24, epochs=1, learning_rate=0.05, devices=2, backprop="random")
    train(SPEC, config, *data, out / "broken", Tell(), True, 0.0)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def torchrun(rank: int, port: str) -> dict[str, str]:
    return {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip


def slurm(rank: int, port: str, nodes: int = 1) -> dict[str, str]:
    """Two tasks for each of the nodes."""
    return {
        "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "hmdf", "SLURM_NTASKS": str(2 * nodes), "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": str(nodes), "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank % 2),
        "SLURM_NODEID": str(rank // 2), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    generator = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = (generator.integers(0, 60, (90, 8, 8)) + 70 * labels[:, None, None]).astype(np.uint8)
    np.savez(folder / "set.npz", images=images, labels=labels)
    port = free_port()
    children = [Child(train_all, 1, folder), *(Child(train_all, 2, folder, **torchrun(rank, port)) for rank in (0, 1))]
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


def test_two_processes_that_are_killed_go_on_to_the_same_weights(runs):
    """One is killed in its second mini-batch, and the other ends with a message; Slurm starts them again."""
    port = free_port()
    first, second = (Child(train_again, runs, **torchrun(rank, port)) for rank in (0, 1))
    lines = filter(str.isdigit, first.lines())
    assert [next(lines), next(lines)] == ["24", "48"]
    first.process.kill()
    assert "TrainingError: another process of the run ended" in "\n".join(second.lines())
    assert second.process.exitcode == 1
    port = free_port()
    again = [Child(train_again, runs, **slurm(rank, port)) for rank in (0, 1)]
    said = [[*child.lines()] for child in again]
    assert [child.process.exitcode for child in again] == [0, 0], said
    assert "24" not in said[0]  # it did not begin anew
    whole, broken = (checkpoint.load(runs / name / "model.pt") for name in ("random-2", "broken"))
    assert all(torch.equal(tensor, broken.state[name]) for name, tensor in whole.state.items())
    assert whole.metrics["test_loss"] == broken.metrics["test_loss"]


def test_a_dry_run_says_which_process_slurm_makes_this(runs):
    def said(environment: dict[str, str], *options: str) -> str:
        command = ["--data", str(runs / "set.npz"), "--batch-size", "30", "--dry-run", "--out", str(runs / "dry")]
        result = CliRunner().invoke(train_command, [*command, *options], env=environment)
        return result.output or str(result.exception)

    assert said({}) == "process 0 of 1 (node 0, device 0): 30 of 30 samples\n"
    four, meeting = ("--devices", "2", "--nodes", "2"), "all meet at 127.0.0.1:29500, started by SLURM\n"
    for rank, line in ((0, "0 of 4 (node 0, device 0): 8 of"), (3, "3 of 4 (node 1, device 1): 7 of")):
        assert said(slurm(rank, "29500", nodes=2), *four) == f"process {line} 30 samples; {meeting}"
    assert said(slurm(0, "29500"), *four) == "SLURM started 2 processes, but devices x nodes are 4"
    assert not (runs / "dry").exists()


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
