"""A new kind of neuron is a file for the contract and for each executor, and two lines: shown in a copy.

`toy_kind/` holds the files where they belong; CONTRIBUTING.md and docs/architecture.md say how to add one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import architecture

ROOT = Path(__file__).parents[1]
TOY = ROOT / "tests" / "toy_kind"
LINES = {
    "from .relay import Relay as Relay": "from .toy_integrator import ToyIntegrator as ToyIntegrator",
    "Dynamics = (\n    Relay": "Dynamics = (\n    Relay\n    | ToyIntegrator",
}


def test_a_kind_is_a_file_for_each_executor_and_two_lines(tmp_path, monkeypatch):
    for folder in ("hmdf", "train", "sim", "hw_targets", "export", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    files = [path.relative_to(TOY) for folder in ("sim", "export") for path in (TOY / folder).rglob("*.py")]
    assert len(files) == 5
    assert {path.name for path in files} == {"toy_integrator.py"}
    for path in files:
        shutil.copy(TOY / path, tmp_path / path)
    index = tmp_path / "sim/contract/dynamics/__init__.py"
    text = index.read_text()
    for line, own in LINES.items():
        assert text.count(line) == 1
        text = text.replace(line, own if own.startswith(line) else f"{line}\n{own}")
    index.write_text(text)

    monkeypatch.setitem(architecture.DYNAMICS, "ToyIntegrator", "toy_integrator")
    monkeypatch.setattr(architecture, "ROOT", tmp_path)
    assert architecture.missing_lowerings(architecture.sources()) == []
    assert architecture.named_kinds(architecture.sources()) == []

    path = os.pathsep.join([str(tmp_path), str(ROOT / "tests")])
    quick = {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_OPT": "0"}  # the kernels are compiled anew
    environment = os.environ | quick | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, TOY / "check.py"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "programs equal" in done.stdout
