import signal
import subprocess
import sys
import time
from pathlib import Path

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


def test_settings_are_overridden_by_options(monkeypatch, tmp_path, data):
    settings = tmp_path / "mine.toml"
    settings.write_text(
        f'data = "{data}"\n[network]\nwidth = 4\ntime_steps = 2\nspike_bits = "float"\nneuron = "plain"\n'
        "[training]\nepochs = 5\nbatch_size = 16\nflip = true\ncrop = 1\n"
    )
    out = tmp_path / "run"
    code = run_cli(
        monkeypatch, "--config", str(settings), "--epochs", "1", "--no-flip", "--neuron", "mpbn", "--spike-bits", "4",
        "--out", str(out),
    )  # fmt: skip
    assert code == 0
    loaded = checkpoint.load(out / "model.pt")
    spec, training = loaded.network, loaded.training
    assert (spec.width, spec.time_steps, spec.spike_bits, spec.neuron, spec.weights) == (4, 2, 4, "mpbn", "ternary")
    assert (training["epochs"], training["batch_size"], training["flip"], training["crop"]) == (1, 16, False, 1)
    assert (training["learning_rate"], training["warmup_epochs"]) == (0.1, 1.0)


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ("", 0.1),
        ("--optimizer muon", 0.02),
        ("--optimizer muon --learning-rate 0.05", 0.05),
        ("--config muon.toml", 0.03),
    ],
)
def test_the_rate_of_sgd_suits_the_optimizer_where_none_is_given(monkeypatch, tmp_path, data, options, rate):
    monkeypatch.chdir(tmp_path)
    Path("muon.toml").write_text('[training]\noptimizer = "muon"\nlearning_rate = 0.03\n')
    assert run_cli(monkeypatch, "--data", data, "--width", "4", "--epochs", "1", "--out", "run", *options.split()) == 0
    assert checkpoint.load("run/model.pt").training["learning_rate"] == rate


def test_resume_goes_on_where_there_is_something(monkeypatch, capsys, tmp_path, data):
    arguments = [
        "--data",
        data,
        "--width",
        "4",
        "--time-steps",
        "2",
        "--epochs",
        "2",
        "--out",
        str(tmp_path),
        "--resume",
    ]
    for rows in (2, 0):
        assert run_cli(monkeypatch, *arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len([line for line in lines if line.strip() and line.split()[0] in ("1", "2")]) == rows
    assert run_cli(monkeypatch, *arguments, "--seed", "1") == 3
    assert "seed = 0, now it is 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "arguments", "frames"),
    [
        ("nmnist", [], "4:time"),
        ("nmnist", ["--time-steps", "3"], "3:time"),
        ("nmnist:2:count", [], "2:count"),
        ("nmnist:2:count", ["--time-steps", "3"], "3:count"),
        ("nmnist:2:count", ["--fold", "1/2"], "2:count@1/2"),
        ("nmnist:2@2/2", [], "2:time@2/2"),
    ],
)
def test_recordings_are_cut_into_one_frame_per_time_step(monkeypatch, tmp_path, name, arguments, frames):
    generator = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "test"):
        arrays |= {f"{split}_{key}": generator.integers(0, top, 3000) for key, top in (("x", 34), ("y", 34), ("p", 2))}
        arrays |= {f"{split}_t": np.arange(3000) % 150, f"{split}_offsets": np.arange(0, 3001, 150)}
        arrays |= {f"{split}_labels": np.arange(20) % 10}
    np.savez(tmp_path / "nmnist_few.npz", **arrays)
    code = run_cli(
        monkeypatch, "--data", name, "--data-root", str(tmp_path), "--width", "4", "--epochs", "1", "--flip", "--roll",
        "2", *arguments, "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert code == 0
    loaded = checkpoint.load(tmp_path / "run" / "model.pt")
    assert loaded.dataset == f"nmnist:{frames}"
    assert loaded.network.time_steps == int(frames[0])
    assert loaded.network.event


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "digit", "--out", "x"], 3, "did you mean 'digits'"),
        (["--data", "none.npz", "--out", "x"], 3, "none.npz: no such file"),
        (["--data", "digits", "--net", "smal", "--out", "x"], 3, "did you mean 'small'"),
        (["--data", "digits", "--net", "vgg13", "--out", "x"], 3, "down to nothing"),
        (["--data", "digits"], 2, "--out"),
        (["--out", "x"], 2, "Missing option '--data'"),
        (["--config", "resnet18", "--out", "x"], 3, "no settings are called 'resnet18'"),
        (["--data", "cifar10", "--data-root", ".", "--out", "x"], 3, "no cifar10 here; looked for cifar-10-binary"),
        (["--data", "digits", "--roll", "2", "--out", "x"], 3, "roll is for events"),
        (["--data", "digits", "--batch-size", "4", "--accumulate", "3", "--out", "x"], 3, "at least 6 samples"),
        (["--data", "digits", "--out", "x", "--spike-bits", "9"], 2, "neither 1..8 nor 'float'"),
        (["--data", "digits", "--out", "x", "--epochs", "0"], 2, "--epochs"),
        (["--data", "digits", "--out", "x", "--fold", "6/5"], 2, "a fold is K/N with K in 1..N"),
        (["--data", "digits", "--out", "x", "--fold", "1/1"], 2, "a fold is K/N with K in 1..N"),
        (["--data", "digits", "--out", "x", "--fold", "2"], 2, "a fold is K/N, for example 2/5 (got '2')"),
        (["--data", "digits@1/5", "--out", "x", "--fold", "2/5"], 2, "the data digits@1/5 are a fold already"),
        (["--data", "digits@9/5", "--out", "x"], 3, "a fold is K/N with K in 1..N"),
        (["--data", "digits", "--out", "x", "--fold", "1/500"], 3, "which has 178 samples; take fewer folds"),
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
