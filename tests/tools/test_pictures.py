"""hmdf-sim on images of one's own: class folders, images without labels, a single file."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from hmdf.sim import storage
from hmdf.sim.program import Metadata
from hmdf.train.data import load
from programs import random_program

from .test_imports import SIM, WITHOUT_EXTRAS, python


def write(path: Path, pixels: np.ndarray, size: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST).save(path)
    return path


@pytest.fixture(scope="module")
def digits():
    """Real digits as 8-bit images (40, 8, 8), and their labels."""
    data = load("digits", "test")
    return np.minimum(data.inputs[:40, 0].astype(int) * 16, 255).astype(np.uint8), data.labels[:40]


@pytest.fixture
def folder(tmp_path, digits):
    for index, (pixels, label) in enumerate(zip(*digits, strict=True)):
        write(tmp_path / "photos" / str(label) / f"{index}.png", pixels)
    return tmp_path / "photos"


def run(call, program: Path, data: Path, *options: str) -> tuple[dict, str]:
    outcome = call("sim", program, "--data", data, "--json", "out.json", *options)
    assert outcome.code == 0, outcome.err
    return json.loads(Path("out.json").read_text()), outcome.out


def test_class_folders(call, demo, folder, digits):
    report, text = run(call, demo.program, folder)
    assert report["samples"] == 40
    assert report["data"]["name"] == "photos"
    assert report["data"]["split"] == "all"
    assert report["accuracy"]["integer"] > 0.5
    assert "note:" not in text
    assert "predictions" not in text
    rows = report["predictions"]
    assert [row["label"] for row in rows] == sorted(digits[1].tolist())
    correct = [row["label"] == row["predicted"] for row in rows]
    assert np.mean(correct) == report["accuracy"]["integer"]


def test_they_are_what_the_data_set_is(call, demo, folder, digits):
    """White stands for the brightest value of the data that the program was trained on: 16."""
    raw = digits[0].astype(np.float32)[:, None] / 255 * 16
    order = np.argsort(digits[1], kind="stable")
    np.savez("same.npz", x_train=raw[order], y_train=np.sort(digits[1]), x_test=raw[order], y_test=np.sort(digits[1]))
    one, other = run(call, demo.program, folder)[0], run(call, demo.program, Path("same.npz"))[0]
    assert other["predictions"] is None
    for key in ("accuracy", "sops", "input"):
        assert one[key] == pytest.approx(other[key])
    assert one["data"]["labels_sha256"] == other["data"]["labels_sha256"]


def test_images_without_labels(call, demo, tmp_path, digits):
    write(tmp_path / "flat" / "a.png", digits[0][0])
    write(tmp_path / "flat" / "b.jpg", digits[0][1], size=80)
    write(tmp_path / "flat" / "c.webp", np.stack([digits[0][2]] * 3, axis=-1), size=40)
    report, text = run(call, demo.program, tmp_path / "flat", "--against", demo.model, "--verify", "reference")
    assert (
        "note: 2 of 3 images resized to 8 x 8 pixels, the centre kept (from 80 x 80 and 1 other size); "
        "1 of 3 images converted to grey\n"
    ) in text
    assert "accuracy: unknown, the images have no labels, same class 100.00%;" in text
    assert "bit exact: yes" in text
    assert report["accuracy"] == {"float": None, "integer": None, "agreement": 1.0}
    assert report["data"] == {"name": "flat", "split": "all", "labels_sha256": None}
    assert report["sample"]["label"] is None
    table = text.split("predictions (score")[1].splitlines()[2:5]
    for line, row in zip(table, report["predictions"], strict=True):
        assert line.split() == [row["file"], row["class_name"], f"{row['score']:.3f}", f"{row['margin']:.3f}"]
        assert row["label"] is None
        assert row["class_name"] == str(row["predicted"])
        assert row["margin"] >= 0
    assert report["predictions"][0]["score"] == pytest.approx(max(report["sample"]["logits_by_step"][-1]))


def test_a_single_image(call, demo, tmp_path, digits):
    path = write(tmp_path / "one.png", digits[0][3], size=30)
    report, text = run(call, demo.program, path)
    assert report["samples"] == 1
    assert report["predictions"][0]["file"] == str(path)
    assert "note: the image resized to 8 x 8 pixels, the centre kept (from 30 x 30)\n" in text


def test_many_images_are_not_all_printed(call, demo, tmp_path):
    for i in range(103):
        write(tmp_path / "many" / f"{i:03}.png", np.full((8, 8), i, np.uint8))
    report, text = run(call, demo.program, tmp_path / "many")
    assert len(report["predictions"]) == 103
    assert "and 3 more: --json FILE has all of them" in text
    assert "099.png" in text
    assert "100.png" not in text


def test_class_names_of_the_program_are_shown(call, demo, tmp_path, digits):
    program = storage.load(demo.program)
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    metadata = msgspec.structs.replace(program.metadata, class_names=names, data_set="photos")
    storage.save(msgspec.structs.replace(program, metadata=metadata), tmp_path / "named.hmdf")
    path = write(tmp_path / "one.png", digits[0][0])
    report, text = run(call, tmp_path / "named.hmdf", path)
    row = report["predictions"][0]
    assert row["class_name"] == names[row["predicted"]]
    assert row["class_name"] in text
    for index, name in enumerate(names):
        for copy in range(5):
            write(tmp_path / "photos" / name / f"{copy}.png", digits[0][index])
    # trained on a folder of this name: without --split, only what training left for testing
    assert run(call, tmp_path / "named.hmdf", tmp_path / "photos")[0]["samples"] == 10
    assert run(call, tmp_path / "named.hmdf", tmp_path / "photos", "--split", "all")[0]["samples"] == 50
    (tmp_path / "photos").rename(tmp_path / "others")
    assert run(call, tmp_path / "named.hmdf", tmp_path / "others")[0]["samples"] == 50


def test_the_report_of_images_without_labels(call, demo, tmp_path, digits):
    write(tmp_path / "flat" / "a.png", digits[0][0])
    run(call, demo.program, tmp_path / "flat")
    outcome = call("report", demo.program.parent, "out.json", "--compare", "none", "-o", "report.html")
    assert outcome.code == 0, outcome.err
    page = (tmp_path / "report.html").read_text()
    assert "samples without labels" in page
    assert "the samples have no labels" in page
    assert "labelled" not in page.split('id="sample"')[1].split("</section>")[0]


def test_it_needs_no_torch(demo, folder, tmp_path):
    with_images = WITHOUT_EXTRAS.replace(", 'PIL'", "").replace("'PIL', ", "")
    assert "PIL" not in with_images
    done = python(with_images + SIM, demo.program, "--data", folder, "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    done = python(WITHOUT_EXTRAS + SIM, demo.program, "--data", folder)
    assert (done.returncode, done.stderr) == (
        3,
        "error: a compressed image needs PIL, which is not installed: pip install 'hmdf[train]'\n",
    )


def test_damaged_or_no_images(call, demo, tmp_path, digits):
    def refused(data: Path, message: str) -> None:
        outcome = call("sim", demo.program, "--data", data, "--json", "out.json")
        assert (outcome.code, outcome.err) == (3, f"error: {message}\n")
        assert not Path("out.json").exists()

    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", f"{tmp_path / 'empty'}: no image in it (.png, .jpg, .jpeg, .bmp, .webp)")
    refused(tmp_path / "none.png", f"{tmp_path / 'none.png'}: no such file or folder")
    write(tmp_path / "flat" / "a.png", digits[0][0])
    broken = tmp_path / "flat" / "b.png"
    broken.write_bytes(b"no image")
    refused(tmp_path / "flat", f"{broken}: not a readable image (cannot identify image file '{broken}')")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    write(broken, noise, 64).write_bytes(broken.read_bytes()[:900])
    outcome = call("sim", demo.program, "--data", tmp_path / "flat")
    assert outcome.code == 3
    assert outcome.err.startswith(f"error: sample 1: {broken}: not a readable image (")
    write(tmp_path / "wrong" / "cat" / "a.png", digits[0][0])
    outcome = call("sim", demo.program, "--data", tmp_path / "wrong")
    assert outcome.code == 3
    assert "no class of the program is called 'cat'; there are 0, 1, 2," in outcome.err


def test_a_baseline_needs_labels(call, demo, tmp_path, digits):
    path = write(tmp_path / "one.png", digits[0][0])
    run(call, demo.program, path)
    outcome = call("sim", demo.program, "--data", path, "--baseline", "out.json")
    assert outcome.code == 3
    assert "samples without labels cannot be told to be the same" in outcome.err


def test_a_program_of_events_takes_no_images(call, tmp_path, digits):
    programs = (random_program(seed) for seed in range(100))
    program = next(p for p in programs if p.input.timing == "frames" and p.metadata == Metadata())
    storage.save(program, tmp_path / "events.hmdf")
    outcome = call("sim", tmp_path / "events.hmdf", "--data", write(tmp_path / "one.png", digits[0][0]))
    assert outcome.code == 3
    assert "takes frames of events" in outcome.err
