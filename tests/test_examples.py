"""The trained models that come with the project: they run as they are, and give what their README says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from published import published

import hmdf
from hmdf.sim.encoder import normalise
from hmdf.tools.sim import sim_command
from hmdf.train import checkpoint
from hmdf.train.online import run

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.hmdf"))
IMAGES = EXAMPLES / "cifar10-resnet18w32.hmdf"
LARGEST = 4_000_000


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_they_come_in_two_forms_that_are_small(path):
    assert path.stat().st_size <= LARGEST
    assert path.with_suffix(".pt").stat().st_size <= LARGEST


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_checkpoint_and_program_say_the_same(path):
    """Logits of both, on noise: the program's differ by quantisation alone."""
    program = hmdf.load(path)
    model = checkpoint.load(path.with_suffix(".pt"))
    generator = np.random.default_rng(0)
    steps = (program.time_steps,) if program.input.timing == "frames" else ()
    raw = generator.integers(0, 4 if steps else 256, (8, *steps, *program.input.shape), dtype=np.uint8)
    x = normalise(raw, program.input.preprocessing)
    integer = hmdf.simulate(program, x).logits * program.readout.scale
    with torch.no_grad():
        real = run(model.build(), torch.from_numpy(x.astype(np.float32)), program.time_steps).sum(0).numpy()
    centred = [logits - logits.mean(1, keepdims=True) for logits in (integer, real)]
    similarity = (centred[0] * centred[1]).sum() / np.prod([np.linalg.norm(logits) for logits in centred])
    assert similarity > 0.98


def test_a_folder_of_pictures_runs_out_of_the_box(tmp_path):
    generator = np.random.default_rng(0)
    for number, size in enumerate([(32, 32), (64, 48)]):
        picture = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    out = tmp_path / "out.json"
    result = CliRunner().invoke(sim_command, [str(IMAGES), "--data", str(tmp_path), "--json", str(out)])
    assert result.exit_code == 0, result.output
    predictions = json.loads(out.read_text())["predictions"]
    assert [Path(row["file"]).name for row in predictions] == ["0.png", "1.png"]
    assert {row["class_name"] for row in predictions} <= set(hmdf.load(IMAGES).metadata.class_names)


@pytest.mark.parametrize(
    ("name", "data", "samples"), [("cifar10-resnet18w32", "cifar10", 1000), ("mnist-lmh", "mnist", 4000)]
)
def test_accuracy_is_that_of_the_readme(name, data, samples):
    test = published(data, "test")
    row = name + r" \| .*?\| ([\d.]+) % \| ([\d.]+) % \|"
    printed = re.search(row, (EXAMPLES / "README.md").read_text("utf-8"))
    assert printed is not None
    program = hmdf.load(EXAMPLES / f"{name}.hmdf")
    x = normalise(test.inputs[:samples], program.input.preprocessing)
    result = hmdf.simulate(program, x, labels=test.labels[:samples])
    # four standard deviations of so many draws
    share = float(printed[2]) / 100
    assert abs(result.accuracy - share) < 4 * (share * (1 - share) / samples) ** 0.5
