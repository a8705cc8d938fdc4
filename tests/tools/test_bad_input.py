"""Bad input ends with one clear message on standard error, the right exit code, and nothing half-written."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from .conftest import ENVIRONMENT, digits

TARGETS = Path(__file__).parents[2] / "hw_targets" / "chips"


class Intruder:
    """Would write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def images(size: int = 8) -> np.ndarray:
    return np.zeros((60, size, size), np.float32)


# ---------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("command", ["compile", "sim"])
def test_missing_file(call, command):
    options = ["--check"] if command == "compile" else ["--data", "digits"]
    outcome = call(command, "absent.file", *options)
    assert outcome.code == 3
    assert outcome.err == "error: absent.file: no such file\n"


def test_a_folder_instead_of_a_file(call, tmp_path):
    assert call("compile", tmp_path, "--check").code == 3
    outcome = call("sim", tmp_path, "--data", "digits")
    assert (outcome.code, outcome.err) == (3, f"error: {tmp_path}: is a folder, not a program\n")


def test_a_state_dict_without_its_network(call, demo, tmp_path):
    torch.save(torch.load(demo.model, weights_only=True)["state"], tmp_path / "weights.pt")
    outcome = call("compile", tmp_path / "weights.pt", "--check")
    assert outcome.code == 3
    assert "for a plain state_dict give --network PACKAGE.MODULE:FUNCTION" in outcome.err


def test_a_checkpoint_with_an_object_in_it(call, tmp_path):
    path, trace = tmp_path / "model.pt", tmp_path / "executed"
    torch.save({"format": "hmdf-checkpoint", "state": Intruder(trace)}, path)
    for options in ([], ["--network", "torch.nn:Identity"]):
        outcome = call("compile", path, *options, "--check")
        assert outcome.code == 3
        assert str(path) in outcome.err
        assert not trace.exists()


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_truncated_program(call, demo, tmp_path, kept):
    path = tmp_path / "cut.hmdf"
    path.write_bytes(demo.program.read_bytes()[:kept])
    outcome = call("sim", path, "--data", "digits")
    assert outcome.code == 3
    assert outcome.err.startswith(f"error: {path}: not a readable program: ")


def test_a_checkpoint_in_place_of_a_program(call, demo):
    outcome = call("sim", demo.model, "--data", "digits")
    assert outcome.code == 3
    assert "not a readable program" in outcome.err


def test_a_program_in_place_of_a_checkpoint(call, demo):
    outcome = call("compile", demo.program, "--check")
    assert outcome.code == 3
    assert "not a checkpoint" in outcome.err


# ---------------------------------------------------------------------------------------- names


def test_an_unknown_target_suggests_the_nearest(call, demo):
    outcome = call("compile", demo.model, "--target", "lohi2", "--check")
    assert outcome.code == 3
    assert "no target is named 'lohi2'. Did you mean 'loihi2'?" in outcome.err


def test_an_unknown_data_set_suggests_the_nearest(call, demo):
    outcome = call("sim", demo.program, "--data", "digit")
    assert outcome.code == 3
    assert "no data set is called 'digit' (did you mean 'digits'?)" in outcome.err


def test_an_unknown_executor(call, demo):
    outcome = call("sim", demo.program, "--data", "digits", "--verify", "reference,onyx")
    assert outcome.code == 2
    assert "'onyx' is not an executor; there are reference, onnx, lava" in outcome.err


def test_an_unknown_form(call, demo):
    outcome = call("compile", demo.model, "--emit", "hmdf,vhdl", "--check")
    assert outcome.code == 2
    assert "'vhdl'" in outcome.err


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("torch.nn", "package.module:function"),
        ("no_such_package:build", "cannot import 'no_such_package'"),
        ("torch.nn:build_me", "'torch.nn' has no 'build_me'"),
        ("math:pi", "not callable"),
        ("builtins:dict", "gave a dict, not a torch.nn.Module"),
        (":build", "package.module:function"),
        (".relative:build", "package.module:function"),
        ("broken:build", "cannot import 'broken': ZeroDivisionError: division by zero"),
        ("unreadable:build", "cannot import 'unreadable': SyntaxError"),
    ],
)
def test_a_network_that_cannot_be_built(call, demo, network, message, tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "unreadable.py").write_text("def build(:\n")
    outcome = call("compile", demo.model, "--network", network, "--check")
    assert outcome.code == 3
    assert message in outcome.err


def test_nothing_to_write(call, demo, tmp_path):
    outcome = call("compile", demo.model, "--emit", "", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "any of hmdf, onnx, lava" in outcome.err


def test_no_folder_and_no_check(call, demo):
    assert call("compile", demo.model).code == 2


# ----------------------------------------------------------------------------------------- data


def test_wrong_image_size(call, demo, tmp_path):
    data = digits(tmp_path / "large.npz", x_train=images(10), x_test=images(10))
    outcome = call("sim", demo.program, "--data", data)
    assert outcome.code == 3
    assert "samples of shape (N, 1, 8, 8); got (1, 1, 10, 10)" in outcome.err
    outcome = call("compile", demo.model, "--calibration", data, "--check")
    assert outcome.code == 3
    assert "its samples are (1, 10, 10), the network takes (1, 8, 8)" in outcome.err


def test_labels_beyond_the_classes(call, demo, tmp_path):
    labels = np.arange(60) % 12
    data = digits(tmp_path / "twelve.npz", y_train=labels, y_test=labels)
    outcome = call("sim", demo.program, "--data", data)
    assert outcome.code == 3
    assert "label 10 of sample 10 is outside the 10 classes" in outcome.err


def test_inputs_out_of_range_are_told(call, demo, tmp_path):
    data = digits(tmp_path / "bright.npz", x_test=np.full((60, 8, 8), 255, np.float32))
    outcome = call("sim", demo.program, "--data", data, "--samples", "2")
    assert outcome.code == 0
    assert "note: 100.00% of the input values are beyond the range of the input's messages" in outcome.out


# ------------------------------------------------------------------------------ another network


@pytest.mark.parametrize("change", [("--width", "4"), ("--time-steps", "3"), ("--net", "resnet18", "--width", "8")])
def test_against_another_network(call, demo, tmp_path, change):
    trained = call("train", "--data", "digits", "--width", "8", "--time-steps", "2", "--epochs", "1", "--threads", "1",
                   *change, "--out", tmp_path)  # fmt: skip
    assert trained.code == 0, trained.err
    outcome = call("sim", demo.program, "--data", demo.data, "--against", tmp_path / "model.pt")
    assert outcome.code == 3
    assert f"{tmp_path / 'model.pt'}: is not the network that the program was compiled from" in outcome.err


def test_against_the_same_network_with_other_weights(call, demo, tmp_path):
    content = torch.load(demo.model, weights_only=True)
    content["state"]["classifier.bias"] += 1
    torch.save(content, tmp_path / "other.pt")
    outcome = call("sim", demo.program, "--data", demo.data, "--samples", "4", "--against", tmp_path / "other.pt")
    assert outcome.code == 0
    assert f"note: {tmp_path / 'other.pt'} is not the file that the program was compiled from" in outcome.out
    outcome = call("sim", demo.program, "--data", demo.data, "--samples", "4", "--against", demo.model)
    assert "is not the file" not in outcome.out


def test_a_negative_label(call, demo, tmp_path):
    labels = np.arange(60) % 10
    labels[7] = -1
    data = digits(tmp_path / "negative.npz", y_test=labels)
    outcome = call("sim", demo.program, "--data", data)
    assert outcome.code == 3
    assert "y_test[7] = -1 is out of range" in outcome.err


def test_nan_in_the_data(call, demo, tmp_path):
    bad = images()
    bad[3, 4, 5] = np.nan
    data = digits(tmp_path / "nan.npz", x_test=bad)
    outcome = call("sim", demo.program, "--data", data)
    assert outcome.code == 3
    assert f"{data}: x_test[3, 0, 4, 5] = nan" in outcome.err


def test_a_pickled_array(call, demo, tmp_path):
    data = digits(tmp_path / "objects.npz", x_test=np.array([{"a": 1}] * 60, dtype=object))
    outcome = call("sim", demo.program, "--data", data)
    assert outcome.code == 3
    assert "x_test holds Python objects" in outcome.err


# -------------------------------------------------------------------------------------- weights


def test_nan_in_the_weights(call, demo, tmp_path):
    content = torch.load(demo.model, weights_only=True)
    content["state"]["layer3.conv.weight"][1, 2, 0, 1] = float("nan")
    path = tmp_path / "nan.pt"
    torch.save(content, path)
    outcome = call("compile", path, "--check")
    assert outcome.code == 3
    assert f"{path}: layer3.conv.weight[1, 2, 0, 1] is NaN" in outcome.err


def test_an_accumulator_that_cannot_be_proven_safe(call, demo, tmp_path):
    """Eight bits cannot hold nine products of an int8 stem weight, however narrow the input is."""
    wide = "accumulator_bits = { value = 32"
    chip = tmp_path / "narrow.toml"
    chip.write_text((TARGETS / "generic.toml").read_text().replace(wide, wide.replace("32", "8")))
    outcome = call("compile", demo.model, "--target", chip, "--out", tmp_path / "out")
    assert outcome.code == 4
    said = " ".join(outcome.out.split())
    assert "stem: accumulator_bits" in said
    assert "8 bits hold 127" in said
    assert "cannot be proven safe" in said
    assert "reduce the fan-in" in said
    assert not (tmp_path / "out").exists()


# -------------------------------------------------------------------------------------- outputs


def test_check_writes_nothing(call, demo, tmp_path):
    outcome = call("compile", demo.model, "--check", "--out", tmp_path / "out")
    assert outcome.code == 0
    assert outcome.err == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(call, demo, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    outcome = call("compile", demo.model, "--samples", "8", "--emit", "hmdf", "--out", blocked / "out")
    assert outcome.code == 3
    assert outcome.err.startswith("error: ")
    outcome = call("sim", demo.program, "--data", demo.data, "--samples", "2", "--json", blocked / "out.json")
    assert outcome.code == 3
    assert outcome.err.startswith("error: ")
    assert blocked.read_text() == "not a folder"


def test_a_reader_that_stops_reading_is_no_error(demo):
    command = f"{sys.executable} -m hmdf.tools.sim {demo.program} --data {demo.data} --samples 2"
    script = f"{command} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_an_interrupted_write_leaves_the_old_file(call, demo, tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("hmdf.sim.files.os.replace", fail)
    outcome = call("sim", demo.program, "--data", demo.data, "--samples", "2", "--json", path)
    assert outcome.code == 3
    assert outcome.err == f"error: {path}: No space left on device\n"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
