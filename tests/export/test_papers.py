"""The papers' networks at full size: weight memory to the printed digit, three executors, and Lava on a crop."""

from functools import cache

import numpy as np
import pytest
import torch

import hmdf
from hmdf.export.lava import Lava
from hmdf.export.onnx import OnnxRuntime
from hmdf.sim.encoder import encode
from hmdf.sim.memory import memory_of
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import compare
from hmdf.train.networks import NetworkSpec, build

# name: (network, printed MB by the papers' convention, MB at true width with stem and head in one byte)
CIFAR, EVENTS = (3, 32, 32), (2, 48, 48)
ROWS = {
    "ResNet-18 CIFAR-10": (dict(name="resnet18", input_shape=CIFAR, classes=10, weights="binary"), "2.82", "1.40"),
    "ResNet-18 CIFAR-100": (dict(name="resnet18", input_shape=CIFAR, classes=100, weights="binary"), "3.00", "1.45"),
    "ResNet-34 ImageNet-1k": (
        dict(name="resnet34", input_shape=CIFAR, classes=1000, weights="ternary", stem="imagenet"),
        "10.06",
        "4.77",
    ),
    "ResNet-34 ImageNet-1k, 1 bit (version 1)": (
        dict(name="resnet34", input_shape=CIFAR, classes=1000, weights="binary", stem="imagenet"),
        "7.40",
        "3.18",
    ),
    "ResNet-18 DVS-CIFAR10": (
        dict(name="resnet18", input_shape=EVENTS, classes=10, weights="binary", event=True, time_steps=2),
        "2.81",
        "1.40",
    ),
    "VGG-13 ImageNet-200": (dict(name="vgg13", input_shape=(3, 64, 64), classes=200, weights="binary"), "2.77", "1.28"),
    "VGG-SNN DVS-CIFAR10": (
        dict(name="vgg-snn", input_shape=EVENTS, classes=10, weights="binary", event=True, time_steps=2),
        "2.49",
        "1.20",
    ),
}


@cache
def compiled(row: str, size: int | None = None):
    """(program, one sample) at full width, calibrated on that sample."""
    options = dict(ROWS[row][0])
    if size is not None:
        options["input_shape"] = (options["input_shape"][0], size, size)
    spec = NetworkSpec(**({"neuron": "plain", "parallel": "second"} | options))
    torch.manual_seed(0)
    module = build(spec).eval()
    shape = (1, spec.time_steps, *spec.input_shape) if spec.event else (1, *spec.input_shape)
    x = torch.poisson(torch.full(shape, 0.1)) if spec.event else torch.randn(shape)
    return hmdf.compile(module, x, target="loihi2").program, x.numpy().astype(np.float64)


@pytest.mark.parametrize("row", ROWS)
def test_weight_memory_is_what_the_papers_print(row):
    program, _ = compiled(row)
    memory = memory_of(program)
    assert f"{memory.conventional_weight_bytes / 1e6:.2f}" == ROWS[row][1]
    assert f"{memory.weight_bytes / 1e6:.2f}" == ROWS[row][2]


@pytest.mark.parametrize("row", ["ResNet-18 CIFAR-10", "VGG-SNN DVS-CIFAR10"])
def test_full_width_in_three_executors(row):
    program, x = compiled(row)
    for verdict in compare(program, encode(program, x), [Simulator(), OnnxRuntime()]):
        assert verdict.bit_exact, f"{verdict.executor}: {verdict.first_mismatch}"


def test_full_width_in_lava_on_a_crop():
    # Lava's simulation of 32x32 takes long: the same network, all its channels, on 8x8 pixels.
    program, x = compiled("ResNet-18 CIFAR-10", size=8)
    (verdict,) = compare(program, encode(program, x), [Lava(time_limit=300)])
    assert verdict.bit_exact, verdict.first_mismatch
