"""A tiny network trained on real digits and compiled, once; and a way to call the commands, with real exit codes."""

import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Demo:
    """model: model.pt; program: model.hmdf; report: report.json; data: an .npz of 60 test digits."""

    model: Path
    program: Path
    report: Path
    data: Path


def run(*arguments: str | Path, cwd: Path | None = None) -> Outcome:
    """A command in this process: run("compile", ...) is hmdf-compile; its exit code is that of its SystemExit."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", [f"hmdf-{arguments[0]}", *map(str, arguments[1:])])
        if cwd:
            patch.chdir(cwd)
        with pytest.raises(SystemExit) as stop:
            import_module(f"hmdf.tools.{arguments[0]}").main()
    assert "Traceback" not in err.getvalue(), err.getvalue()
    return Outcome(stop.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    trained = run(
        "train", "--data", "digits", "--width", "8", "--time-steps", "2", "--epochs", "2", "--threads", "1",
        "--out", folder,
    )  # fmt: skip
    assert trained.code == 0, trained.err
    compiled = run("compile", folder / "model.pt", "--samples", "64", "--emit", "hmdf", "--out", folder)
    assert compiled.code == 0, compiled.err
    return Demo(folder / "model.pt", folder / "model.hmdf", folder / "report.json", digits(folder / "digits.npz"))


def digits(path: Path, **changed: np.ndarray) -> Path:
    """60 real digits in an .npz, every class present in both splits; `changed` replaces arrays."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, labels = bunch.images[:60].astype(np.float32), bunch.target[:60]
    arrays = {"x_train": images, "y_train": labels, "x_test": images.copy(), "y_test": labels.copy()}
    np.savez(path, **(arrays | changed))
    return path


@pytest.fixture
def call(monkeypatch, tmp_path) -> Callable[..., Outcome]:
    """`run` in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    return run
