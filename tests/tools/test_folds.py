"""A model that is trained on a fold is calibrated on its training split and evaluated on what was held out."""

import json

import msgspec
import numpy as np

from hmdf.sim import storage
from hmdf.tools.simulation.baseline import run_data
from hmdf.train import checkpoint
from hmdf.train.data import load


def test_the_fold_travels(call, tmp_path):
    options = ["--width", "4", "--time-steps", "2", "--epochs", "1", "--threads", "1", "--out", tmp_path]
    outcome = call("train", "--data", "digits", "--fold", "2/5", *options)
    assert outcome.code == 0, outcome.err
    assert "small on digits@2/5: 1437 training and 360 test samples" in outcome.out
    assert checkpoint.load(tmp_path / "model.pt").dataset == "digits@2/5"
    outcome = call("train", "--data", "digits@3/5", "--resume", *options)
    assert "written with data = 'digits@2/5', now it is 'digits@3/5'" in outcome.err
    outcome = call("compile", tmp_path / "model.pt", "--samples", "32", "--emit", "hmdf", "--out", tmp_path)
    assert outcome.code == 0, outcome.err
    metadata = storage.load(tmp_path / "model.hmdf").metadata
    assert (metadata.data_set, metadata.calibration_data) == ("digits@2/5", "digits@2/5")

    outcome = call("sim", tmp_path / "model.hmdf", "--json", "held_out.json")
    assert outcome.code == 0, outcome.err
    assert "note:" not in outcome.out
    held_out = json.loads((tmp_path / "held_out.json").read_text())
    assert held_out["samples"] == 360
    assert held_out["data"] == msgspec.to_builtins(run_data(load("digits@2/5", "test")))
    for other in ("digits", "digits@3/5"):
        outcome = call("sim", tmp_path / "model.hmdf", "--data", other)
        assert f"note: trained on digits@2/5, run on {other}: only the test split of digits@2/5 is sure" in outcome.out


def test_a_file_of_ones_own(call, demo, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", images=rng.random((60, 8, 8), dtype=np.float32), labels=np.arange(60) % 10)
    name = str(tmp_path / "own.npz") + "@1/3"
    outcome = call("sim", demo.program, "--data", name, "--json", "out.json")
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "out.json").read_text())["data"]["name"] == "own@1/3"
    outcome = call("compile", demo.model, "--calibration", name, "--emit", "hmdf", "--out", tmp_path)
    assert outcome.code == 0, outcome.err
    assert storage.load(tmp_path / "model.hmdf").metadata.calibration_data == "own.npz@1/3"
