"""The networks of the papers, through the compiler, on every shipped target: fits, or the expected findings."""

from functools import cache

import pytest
import torch

import hmdf
from hmdf.export.compiler import Compilation, registers_of
from hmdf.export.errors import CompileError
from hmdf.hw_targets.judge.fit import check
from hmdf.hw_targets.target import load_target, target_names
from hmdf.train.networks import NetworkSpec, build

SPECS = {
    "small": NetworkSpec("small", (1, 8, 8), 10),
    "resnet18": NetworkSpec("resnet18", (3, 32, 32), 100, neuron="plain", parallel="second"),
    "vgg-snn": NetworkSpec("vgg-snn", (2, 48, 48), 10, time_steps=10, weights="binary", event=True),
}
NEURONS = {"dynamics", "multiplier"}
CORES = {"cores"}
SPECK = {"accumulator_bits", "state_bits", "kernel memory", "neuron memory"}
FITS: set[str] = set()
BINARY = {"message_bits", *NEURONS}
SIGNED = {"signed_messages"}
EXPECTED = {
    ("small", "akida"): {"leak", "weight_bits", *SIGNED, *NEURONS},
    ("small", "cmos45"): FITS,
    ("small", "generic"): FITS,
    ("small", "loihi1"): {*SIGNED, *BINARY},
    ("small", "loihi2"): FITS,
    ("small", "speck"): {"leak", *SIGNED, *BINARY},
    ("small", "spinnaker2"): FITS,
    ("small", "tianjic"): {"fan_in", *SIGNED, *NEURONS},
    ("small", "truenorth"): {"fan_in", "leak", "weight_bits", *SIGNED, *BINARY},
    ("small", "xylo"): {"fan_in", *CORES, *SIGNED, *BINARY},
    ("resnet18", "akida"): {"leak", "weight_bits", *SIGNED, *NEURONS},
    ("resnet18", "cmos45"): FITS,
    ("resnet18", "generic"): FITS,
    ("resnet18", "loihi1"): {"input_axons", *CORES, *SIGNED, *BINARY},
    ("resnet18", "loihi2"): CORES,
    ("resnet18", "speck"): {"leak", *CORES, *SPECK, *SIGNED, *BINARY},
    ("resnet18", "spinnaker2"): CORES,
    ("resnet18", "tianjic"): {"fan_in", *CORES, *SIGNED, *NEURONS},
    ("resnet18", "truenorth"): {"fan_in", "leak", "weight_bits", *SIGNED, *BINARY},
    ("vgg-snn", "akida"): {"leak", "weight_bits", *NEURONS},
    ("vgg-snn", "cmos45"): FITS,
    ("vgg-snn", "generic"): FITS,
    ("vgg-snn", "loihi1"): {"input_axons", *CORES, *BINARY},
    ("vgg-snn", "loihi2"): CORES,
    ("vgg-snn", "speck"): {"leak", *CORES, *SPECK, *BINARY},
    ("vgg-snn", "spinnaker2"): CORES,
    ("vgg-snn", "tianjic"): {"fan_in", *CORES, *NEURONS},
    ("vgg-snn", "truenorth"): {"fan_in", "leak", "weight_bits", *BINARY},
}
"""Chips that are not here are only asked for findings with fixes."""
REFUSED = {(network, chip) for network in ("resnet18", "vgg-snn") for chip in ("speck", "xylo")}
"""No message is narrow enough for 16-bit accumulators: the compiler says so, the rest is found with wider ones."""


@cache
def compiled(name: str, target: str) -> Compilation:
    """At full width, calibrated on one sample."""
    spec = SPECS[name]
    torch.manual_seed(0)
    shape = (1, spec.time_steps, *spec.input_shape) if spec.event else (1, *spec.input_shape)
    x = torch.poisson(torch.full(shape, 0.1)) if spec.event else torch.randn(shape)
    return hmdf.compile(build(spec).eval(), x, target=target)


CHIPS = [name for name in target_names() if load_target(name).processor is None]


def twin(target: str) -> str:
    """The first target with the same integers: what is compiled for it is compiled for this one."""
    wanted = registers_of(load_target(target))
    return next(name for name in CHIPS if registers_of(load_target(name)) == wanted)


@pytest.mark.parametrize("network", SPECS)
@pytest.mark.parametrize("target", CHIPS)
def test_accepted_or_refused_with_the_expected_findings(network, target):
    if (network, target) in REFUSED:
        with pytest.raises(CompileError, match="16 bits hold 32767"):
            compiled(network, target)
        compilation = compiled(network, "loihi2")
    else:
        compilation = compiled(network, twin(target))
    findings = check(compilation.program, load_target(target))
    resources = {f.resource for f in findings}
    assert resources == EXPECTED.get((network, target), resources)
    assert all(f.problem and f.fix for f in findings)


@pytest.mark.parametrize(("network", "chips"), [("resnet18", 2), ("vgg-snn", 2)])
def test_the_chips_that_are_proposed_suffice(network, chips):
    compilation, loihi2 = compiled(network, twin("loihi2")), load_target("loihi2")
    (finding,) = check(compilation.program, loihi2, chips=chips - 1)
    assert finding.fix.startswith(f"{chips} chips: {chips} times the static power")
    assert check(compilation.program, loihi2, chips=chips) == []
