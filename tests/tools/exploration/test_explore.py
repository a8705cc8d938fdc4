"""hmdf-explore as a whole: its files, its pictures, bad input."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from hmdf.sim import storage
from hmdf.tools.exploration.choice import FRONT, Wanted, front
from hmdf.tools.exploration.picture import draw

from ..conftest import ENVIRONMENT

SMALL = ("--bits", "2,4", "--steps", "1..T", "--target", "loihi2,loihi1")


def test_the_whole_command(demo, call, tmp_path):
    out = tmp_path / "out"
    outcome = call("explore", demo.model, "--data", demo.data, *SMALL, "--jobs", "1", "--max-cores", "8", "--out", out)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    found = json.loads((out / "exploration.json").read_text())
    assert [(p["target"], p["setting"]["spike_bits"], p["setting"]["time_steps"]) for p in found["points"]] == [
        (target, bits, steps) for target in ("loihi2", "loihi1") for bits in (2, 4) for steps in (1, 2)
    ]
    chosen = next(p for p in found["points"] if p["key"] == found["chosen"])
    assert chosen["target"] == "loihi2"
    assert chosen["front"]
    assert f"\nchosen: {chosen['setting']['spike_bits']}-bit spikes" in outcome.out
    assert "4 points do not fit loihi1" in outcome.out
    assert (out / "exploration.png").read_bytes().startswith(b"\x89PNG")
    for name in ("exploration.svg", "steps.svg"):
        assert ElementTree.parse(out / name).getroot().tag.endswith("svg")
    program = storage.load(out / "chosen.hmdf")
    assert program.sha256 == chosen["program_sha256"]
    simulated = call("sim", out / "chosen.hmdf", "--data", demo.data, "--json", out / "sim.json")
    assert simulated.code == 0
    assert json.loads((out / "sim.json").read_text())["accuracy"]["integer"] == chosen["accuracy"]


def test_limits_that_nothing_keeps(demo, call, tmp_path):
    out = tmp_path / "out"
    command = ("explore", demo.model, "--data", demo.data, "--bits", "4", "--steps", "1", "--jobs", "1", "--out", out)
    assert call(*command).code == 0
    assert (out / "chosen.hmdf").exists()
    outcome = call(*command, "--max-energy", "1pJ")
    assert outcome.code == 4
    assert "energy <= 0.00000100 uJ is kept by none: the least is 4-bit spikes, 1 step on loihi2" in outcome.out
    assert outcome.err == "error: no setting fits and keeps the limits; the reasons are above\n"
    assert not (out / "chosen.hmdf").exists()


def test_bits_beyond_training_are_said(demo, call, tmp_path):
    outcome = call("explore", demo.model, "--data", demo.data, "--bits", "4..8", "--steps", "1", "--jobs", "1",
                   "--out", tmp_path / "out")  # fmt: skip
    assert "note: training quantised spikes to 4 bits at most: more bits give the same program" in outcome.out
    assert len(list((tmp_path / "out" / "points").iterdir())) == 1


def test_no_picture_without_matplotlib(demo, call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = call("explore", demo.model, "--data", demo.data, "--bits", "4", "--steps", "1", "--jobs", "1",
                   "--out", tmp_path / "out")  # fmt: skip
    assert outcome.code == 0
    assert "note: no picture: it needs matplotlib" in outcome.out


def test_pictures_of_the_same_points_are_the_same(measured, tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        draw(measured, measured[0], Wanted(max_energy=1e8, min_accuracy=0.2), folder)
    for name in ("exploration.png", "exploration.svg"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_a_picture_of_points_without_costs(measured, tmp_path):
    bare = [msgspec.structs.replace(p, energy_pj=None, memory_bytes=None, cores=None) for p in measured]
    assert len(draw(bare, None, Wanted(), tmp_path)) == 2
    assert len(front(bare, FRONT)) >= 1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--bits", "8..2"], 2, "--bits: '8..2' must ascend within 1..16"),
        (["--bits", "four"], 2, "--bits: 'four' is not a number or a range such as 2..8"),
        (["--steps", "2..1"], 2, "--steps: '2..1' must ascend within 1..4096"),
        (["--message-bits", "1"], 2, "--message-bits: '1' must ascend within 2..16"),
        (["--max-energy", "20"], 2, "is not a positive number with one of the units"),
        (["--min-accuracy", "95"], 2, "write 97.5% or 0.975"),
        (["--target", "loihi2,loihi2"], 2, "two targets are named 'loihi2'"),
        (["--target", "lohi2"], 3, "Did you mean 'loihi2'?"),
        (["--data", "digit"], 3, "did you mean 'digits'?"),
        (["--calibration", "absent.npz"], 3, "absent.npz"),
    ],
)
def test_bad_input(demo, call, tmp_path, options, code, message):
    outcome = call("explore", demo.model, "--data", "digits", *options, "--out", tmp_path / "out")
    assert outcome.code == code
    assert message in outcome.err
    assert not (tmp_path / "out" / "exploration.json").exists()


def test_bad_files(demo, call, tmp_path):
    outcome = call("explore", tmp_path / "absent.pt", "--data", "digits", "--out", tmp_path / "out")
    assert outcome.code == 3
    assert outcome.err == f"error: {tmp_path / 'absent.pt'}: no such file\n"
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    outcome = call("explore", demo.model, "--data", "digits", "--out", blocked)
    assert outcome.code == 3
    assert blocked.read_text() == "not a folder"


def test_data_of_another_shape(demo, call, tmp_path):
    path = tmp_path / "large.npz"
    x, y = np.zeros((20, 10, 10), np.float32), np.arange(20) % 10
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    outcome = call("explore", demo.model, "--data", path, "--out", tmp_path / "out")
    assert outcome.code == 3
    assert "its samples are (1, 10, 10), the network takes (1, 8, 8)" in outcome.err


def test_help_loads_no_torch():
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print([m for m in ('torch', 'dask', 'matplotlib') if m in sys.modules]))\n"
        "sys.argv = ['hmdf-explore', '--help']\n"
        "from hmdf.tools.explore import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")
