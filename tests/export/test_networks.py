"""Every network of the papers, in every variant, compiles and runs to the same integers in all executors.

The variants are chosen so that every pair of (network, neuron), (network, attention), (neuron, attention), weights and
input kind occurs; widths are small, the structure is the full one.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from networks import settled

import hmdf
from hmdf.export.compiler import Compilation
from hmdf.export.config import Config
from hmdf.export.onnx import OnnxRuntime
from hmdf.sim import storage
from hmdf.sim.encoder import encode
from hmdf.sim.executor import Taps
from hmdf.sim.program import Program
from hmdf.sim.reference import run
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import compare
from hmdf.train.networks import NETWORKS, NetworkSpec, build
from lava_batch import run_in_lava

SIZES = {"small": 8, "resnet18": 8, "resnet19": 8, "resnet19-wide": 8, "resnet20": 8, "resnet34": 8}
SIZES |= {"vgg13": 16, "vgg16": 32, "vgg-snn": 16}
NEURONS, ATTENTIONS, WEIGHTS = ("plain", "mpbn", "parallel"), ("none", "I", "II"), ("ternary", "binary")


def variants() -> list[dict]:
    """Three variants of each network: a Latin square of neurons and attentions, weights and inputs in turn."""
    chosen = []
    for row, name in enumerate(NETWORKS):
        for column, neuron in enumerate(NEURONS):
            index = row + column
            chosen.append(
                {
                    "name": name,
                    "neuron": neuron,
                    "seca": ATTENTIONS[index % 3],
                    "weights": WEIGHTS[index % 2],
                    "event": (row + column // 2) % 2 == 1,
                    "parallel": "second" if column == 0 and neuron == "plain" else "none",
                    "downsample": ("current", "spikes")[column % 2],
                    "pool": ("average", "max")[row % 2],
                    "time_steps": 2 + index % 3,
                    "spike_bits": (4, 8, 1)[column],
                    "width": (4, 6, 5)[column],
                }
            )
    return chosen


def case(options: dict, config: Config | None = None, samples: int = 3, size: int | None = None):
    """(compilation, normalised samples) of a network whose normalisations have seen some data."""
    size = size or SIZES[options["name"]]
    channels = 2 if options.get("event") else 3
    spec = NetworkSpec(input_shape=(channels, size, size), classes=7, **options)
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    if spec.event:
        rates = torch.full((samples, spec.time_steps, *spec.input_shape), 0.2)
        x = torch.poisson(rates, generator=generator)
    else:
        x = torch.randn(samples, *spec.input_shape, generator=generator)
    module = settled(build(spec), x, spec.time_steps)
    example = x[:1]
    compilation = hmdf.compile(module, example, calibration=x, target="loihi2", config=config)
    return compilation, x.numpy().astype(np.float64)


class Unstored:
    """The reference on the program as it was compiled, before it went through its file."""

    name = "unstored"

    def __init__(self, program: Program) -> None:
        self.program = program

    def run(self, _stored: Program, messages: np.ndarray) -> Taps:
        return run(self.program, messages)


def assert_exact(compilation: Compilation, x: np.ndarray, *executors) -> None:
    with TemporaryDirectory() as folder:
        storage.save(compilation.program, Path(folder) / "model.hmdf")
        program = storage.load(Path(folder) / "model.hmdf")
    for verdict in compare(program, encode(program, x), [Unstored(compilation.program), *executors]):
        assert verdict.bit_exact, f"{verdict.executor}: {verdict.first_mismatch}"
        assert verdict.compared > 0


def label(options: dict) -> str:
    return "-".join(str(options[key]) for key in ("name", "neuron", "seca", "weights"))


def test_the_variants_cover_every_pair():
    chosen = variants()
    assert {(v["name"], v["neuron"]) for v in chosen} == {(n, k) for n in NETWORKS for k in NEURONS}
    assert {(v["name"], v["seca"]) for v in chosen} == {(n, k) for n in NETWORKS for k in ATTENTIONS}
    assert {(v["neuron"], v["seca"]) for v in chosen} == {(n, k) for n in NEURONS for k in ATTENTIONS}
    assert {(v["name"], v["weights"]) for v in chosen} == {(n, k) for n in NETWORKS for k in WEIGHTS}
    assert {(v["name"], v["event"]) for v in chosen} == {(n, k) for n in NETWORKS for k in (False, True)}


@pytest.mark.parametrize("options", variants(), ids=label)
def test_numba_and_onnxruntime_give_the_integers_of_the_reference(options):
    compilation, x = case(options)
    assert all(interval.bits <= 24 for interval in compilation.ranges.synapses.values())
    assert_exact(compilation, x, Simulator(), OnnxRuntime())


def case_for_lava(name: str) -> tuple[Program, np.ndarray]:
    row = list(NETWORKS).index(name)
    options = {
        "name": name,
        "neuron": NEURONS[row % 3],
        "seca": ATTENTIONS[(row + 1) % 3] if name == "small" else "none",
        "weights": WEIGHTS[row % 2],
        "event": name == "vgg-snn",
        "width": 4,
        "time_steps": 2,
    }
    compilation, x = case(options, samples=2)
    return compilation.program, encode(compilation.program, x)


def test_lava_gives_the_integers_of_the_reference(tmp_path):
    cases = {name: case_for_lava(name) for name in NETWORKS if name != "resnet19-wide"}  # resnet19 but for the width
    for name, taps in run_in_lava(cases, tmp_path).items():
        wanted = run(*cases[name])
        assert taps.messages.keys() == wanted.messages.keys()
        for population, messages in wanted.messages.items():
            np.testing.assert_array_equal(taps.messages[population], messages, err_msg=f"{name}: {population}")
        np.testing.assert_array_equal(taps.logits, wanted.logits, err_msg=name)


@pytest.mark.parametrize("neuron", ["plain", "mpbn"])
def test_the_imagenet_stem_with_its_max_pool(neuron):
    options = {"name": "resnet34", "neuron": neuron, "stem": "imagenet", "width": 4, "time_steps": 2}
    compilation, x = case(options, size=33)
    assert any(node.name.endswith("pool.window") for node in compilation.program.synapses)
    assert_exact(compilation, x, Simulator(), OnnxRuntime())


@pytest.mark.parametrize("name", ["small", "vgg-snn"])
def test_merged_pools(name):
    options = {"name": name, "neuron": "plain", "width": 4, "time_steps": 2}
    kept, x = case(options)
    merged, _ = case(options, Config(merge_pools=True))
    assert len(merged.program.populations) < len(kept.program.populations)
    assert_exact(merged, x, Simulator(), OnnxRuntime())
    # Merging rounds nothing that the pool did not: the same integers leave every population that both have.
    before, after = (Simulator().run(c.program, encode(c.program, x)) for c in (kept, merged))
    for name_ in set(after.messages) & set(before.messages):
        scale = kept.program.message_of(name_).scale / merged.program.message_of(name_).scale
        difference = np.abs(before.messages[name_] * scale - after.messages[name_]).max()
        assert difference <= 1, name_


def test_the_lif_baseline():
    compilation, x = case({"name": "resnet18", "neuron": "lif", "width": 4, "time_steps": 3})
    assert_exact(compilation, x, Simulator(), OnnxRuntime())
