import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hmdf.tools import train as cli
from hmdf.train import checkpoint


def run_cli(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hmdf-train", *arguments])
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.fixture
def data(tmp_path):
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (generator.integers(0, 40, (60, 8, 8)) + 100 * (labels == 1)[:, None, None]).astype(np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    return str(tmp_path / "set.npz")


def test_options_reach_the_checkpoint(monkeypatch, capsys, tmp_path, data):
    out = str(tmp_path / "run")
    code = run_cli(
        monkeypatch, "--data", data, "--net", "small", "--width", "4", "--weights", "binary", "--neuron", "plain",
        "--parallel", "second", "--time-steps", "2", "--spike-bits", "float", "--epochs", "2", "--backprop", "every",
        "--batch-size", "16", "--seed", "5", "--out", out,
    )  # fmt: skip
    assert code == 0
    loaded = checkpoint.load(tmp_path / "run" / "model.pt")
    spec = loaded.network
    assert (spec.width, spec.weights, spec.neuron, spec.parallel) == (4, "binary", "plain", "second")
    assert (spec.time_steps, spec.spike_bits, spec.input_shape, spec.classes) == (2, None, (1, 8, 8), 3)
    assert (loaded.training["epochs"], loaded.training["backprop"], loaded.training["seed"]) == (2, "every", 5)
    lines = capsys.readouterr().out.splitlines()
    titles = next(line for line in lines if line.lstrip().startswith("epoch"))
    rows = [line for line in lines if line.strip() and line.split()[0] in ("1", "2")]
    assert len(rows) == 2
    assert {len(line.rstrip()) for line in rows} == {len(titles.rstrip())}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "digit", "--out", "x"], 3, "did you mean 'digits'"),
        (["--data", "none.npz", "--out", "x"], 3, "none.npz: no such file"),
        (["--data", "digits", "--net", "smal", "--out", "x"], 3, "did you mean 'small'"),
        (["--data", "digits", "--net", "vgg13", "--out", "x"], 3, "down to nothing"),
        (["--data", "digits"], 2, "--out"),
        (["--data", "digits", "--out", "x", "--spike-bits", "9"], 2, "neither 1..8 nor 'float'"),
        (["--data", "digits", "--out", "x", "--epochs", "0"], 2, "--epochs"),
    ],
)
def test_bad_input_ends_with_one_message(monkeypatch, capsys, tmp_path, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    assert run_cli(monkeypatch, *arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_interrupt_leaves_the_last_epoch(tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "hmdf.tools.train", "--data", "digits", "--width", "4", "--epochs", "1000",
         "--threads", "1", "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (out / "metrics.csv").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert checkpoint.load(out / "model.pt").metrics["epoch"] >= 1
