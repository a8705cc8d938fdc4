"""A network that nobody planned for, from its own file to all four executors: by the API and by the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import settled

import hmdf
from hmdf.export.lava import Lava
from hmdf.export.onnx import OnnxRuntime
from hmdf.sim.encoder import encode
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import compare
from hmdf.tools.compile import main

SOURCE = '''
"""Two sensors merged, a grouped convolution, a branch read three times, odd sizes."""
import torch
from torch import nn
from hmdf.train.neurons import GradedSpike, HybridFiring, ParallelFiring
from hmdf.train.synapses import BinaryConv2d, TernaryConv2d, TernaryLinear

T = 3


class Fusion(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(2, 6, (3, 5), stride=(1, 2), padding=(1, 2))
        self.right = TernaryConv2d(1, 6, 3, stride=(1, 2), padding=1)
        self.merge = nn.BatchNorm2d(6)
        self.first = HybridFiring(6, T, mpbn=True, spike=GradedSpike(3))
        self.grouped = BinaryConv2d(6, 9, 3, padding=2, dilation=2, groups=3)
        self.norm = nn.BatchNorm2d(9)
        self.second = HybridFiring(9, T, spike=GradedSpike(None))
        self.paths = nn.ModuleList([TernaryConv2d(9, 4, k, padding=k // 2) for k in (1, 3, 5)])
        self.shared = ParallelFiring(4, T, spike=GradedSpike(6, 0.125))
        self.pool = nn.MaxPool2d(2, ceil_mode=False)
        self.hidden = TernaryLinear(12 * 3 * 2, 11)
        self.dense_norm = nn.BatchNorm1d(11)
        self.last = HybridFiring(11, T, spike=GradedSpike(4))
        self.head = nn.Linear(11, 3)

    def forward(self, x):
        current = self.merge(self.left(x[:, :2]) + self.right(x[:, 2:]))
        branch = self.second(self.norm(self.grouped(self.first(current))))
        spikes = torch.cat([self.shared(path(branch)) for path in self.paths], 1)
        hidden = self.dense_norm(self.hidden(torch.flatten(self.pool(spikes), 1)))
        return self.head(self.last(hidden))


def build():
    return Fusion()
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with the user's package, trained-looking weights and data."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").write_text("")
    (folder / "my_package" / "my_module.py").write_text(SOURCE)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(24, 3, 7, 9)).astype(np.float32)
    labels = np.arange(24) % 3
    np.savez(folder / "data.npz", x_train=images[:12], y_train=labels[:12], x_test=images[12:], y_test=labels[12:])
    torch.manual_seed(0)
    module = settled(own_module(folder), torch.from_numpy(images), 3)
    torch.save(module.state_dict(), folder / "weights.pt")
    return folder


def own_module(folder: Path) -> torch.nn.Module:
    names: dict = {}
    exec((folder / "my_package" / "my_module.py").read_text(), names)
    return names["build"]()


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    tool = [sys.executable, "-m", f"hmdf.tools.{command[0]}", *command[1:]]
    return subprocess.run(tool, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_through_the_api(project):
    module = own_module(project)
    module.load_state_dict(torch.load(project / "weights.pt", weights_only=True))
    x = np.load(project / "data.npz")["x_test"].astype(np.float64)
    program = hmdf.compile(module.eval(), torch.from_numpy(x).float(), target="loihi2").program
    verdicts = compare(program, encode(program, x), [Simulator(), OnnxRuntime(), Lava(time_limit=240)])
    assert [v.executor for v in verdicts if not v.bit_exact] == [], verdicts
    assert len({p.name for p in program.populations if p.name.startswith("shared")}) == 3


def test_through_the_command_line(project):
    own = ("--network", "my_package.my_module:build")
    compiled = run(project, "compile", "weights.pt", *own, "--calibration", "data.npz", "--out", "out")
    assert compiled.returncode == 0, compiled.stderr
    for name in ("model.hmdf", "model.onnx", "lava/run.py", "report.json"):
        assert (project / "out" / name).exists(), name
    simulated = run(
        project, "sim", "out/model.hmdf", "--data", "data.npz", "--verify", "reference,onnx,lava",
        "--against", "weights.pt", *own, "--json", "out/out.json",
    )  # fmt: skip
    assert simulated.returncode == 0, simulated.stderr
    assert "bit exact: yes" in simulated.stdout
    report = json.loads((project / "out" / "out.json").read_text())
    assert {name: v["bit_exact"] for name, v in report["verify"].items()} == dict.fromkeys(
        ("reference", "onnx", "lava"), True
    )
    assert report["accuracy"]["agreement"] is not None
    assert {row["population"] for row in report["fidelity"]} >= {"first", "second", "last"}


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("my_package.my_module", "must be package.module:function"),
        ("my_package.nowhere:build", "cannot import"),
        ("my_package.my_module:nothing", "has no 'nothing'"),
        ("my_package.my_module:T", "TypeError"),
        ("my_package.my_module:dict", "has no 'dict'"),
        ("collections:OrderedDict", "gave a OrderedDict"),
        ("torch.nn:Identity", "does not fit the module"),
    ],
)
def test_a_factory_that_does_not_work_is_explained(project, monkeypatch, capsys, network, reason):
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(project)
    options = ["weights.pt", "--network", network, "--calibration", "data.npz", "--check"]
    monkeypatch.setattr(sys, "argv", ["hmdf-compile", *options])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == 3
    assert reason in error
    assert "Traceback" not in error
