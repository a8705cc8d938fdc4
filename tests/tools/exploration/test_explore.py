"""hmdf-explore as a whole: its files, its pictures, bad input."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from hmdf.sim import storage
from hmdf.tools.documents.exploration import Setting
from hmdf.tools.exploration import steps_picture
from hmdf.tools.exploration.choice import FRONT, Wanted, front
from hmdf.tools.exploration.picture import draw

from ..conftest import ENVIRONMENT
from .conftest import a_point

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


def test_steps_are_drawn_with_the_best_setting_of_each(tmp_path, monkeypatch):
    """A line per target; of two settings with as many steps the more accurate one, and training's steps marked."""

    def point(index: int, target: str, steps: int, correct: int, energy: float | None):
        made = a_point(index, target, correct, energy, 1, 1, True)
        return msgspec.structs.replace(made, setting=Setting(4, steps))

    points = [
        point(0, "loihi2", 1, 5, 1e6), point(1, "loihi2", 1, 7, 2e6), point(2, "loihi2", 2, 8, 3e6),
        point(3, "loihi2", 8, 9, 8e6), point(4, "speck", 2, 6, None), point(5, "speck", 8, 6, None),
    ]  # fmt: skip
    pictures = []
    save = steps_picture.save
    monkeypatch.setattr(steps_picture, "save", lambda made, *known: pictures.append(made) or save(made, *known))
    written = steps_picture.draw_steps(points, 2, tmp_path)
    assert {path.name for path in written} == {"steps.png", "steps.svg"}
    assert all(path.stat().st_size for path in written)
    accuracy, energy = pictures[0].axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in accuracy.lines}
    assert lines["loihi2"] == ([1, 2, 8], pytest.approx([70, 80, 90]))
    assert lines["speck"] == ([2, 8], pytest.approx([60, 60]))
    assert [2, 2] in [list(line.get_xdata()) for line in accuracy.lines]
    assert list(energy.lines[0].get_ydata()) == pytest.approx([2, 3, 8])
    assert [text.get_text() for text in accuracy.get_xticklabels()] == ["1", "2", "8"]
    assert steps_picture.draw_steps(points[:2], 2, tmp_path / "none") == []


def test_points_without_accuracy_are_not_drawn(tmp_path):
    points = [msgspec.structs.replace(a_point(i, "loihi2", 5, 1e6, 1, 1, True), accuracy=None) for i in (0, 8)]
    assert steps_picture.draw_steps(points, 2, tmp_path) == []
    assert not list(tmp_path.iterdir())
