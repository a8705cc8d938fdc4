"""Networks with dead layers, vanishing variances and currents of any size compile, or are refused with a finding."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from hmdf.export.compiler import compile_network
from hmdf.export.config import Config
from hmdf.export.errors import CompileError
from hmdf.sim.encoder import encode
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import compare
from hmdf.train.networks import NetworkSpec, build


def hostile(seed: int) -> tuple[nn.Module, torch.Tensor, Config]:
    """A small network in a random variant whose normalisations and neurons have random, extreme parameters."""
    choose = random.Random(seed).choice
    torch.manual_seed(seed)
    spec = NetworkSpec(
        name=choose(["small", "small", "resnet18", "vgg-snn"]),
        input_shape=(2, 16, 16),
        classes=choose([1, 5]),
        weights=choose(["ternary", "binary"]),
        neuron=choose(["plain", "mpbn", "parallel", "lif"]),
        seca=choose(["none", "I", "II"]),
        pool=choose(["average", "max"]),
        spike_bits=choose([1, 4, None]),
        spike_lsb=choose([0.25, 1e-3, 8.0]),
        time_steps=choose([1, 2]),
        width=choose([1, 3]),
    )
    module = build(spec).eval()
    with torch.no_grad():
        for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.normal_(0, choose([0, 0.1, 1, 50]))
            norm.bias.normal_(0, choose([0, 0.1, 20]))
            norm.running_var.uniform_(1e-8, choose([1e-6, 1, 1e4]))
        for name, parameter in module.named_parameters():
            if name.endswith("_logit"):
                parameter.normal_(0, choose([0, 1, 100]))
    x = torch.randn(4, 2, 16, 16) * choose([0, 1e-6, 1, 1e6])
    return module, x, Config(message_bits=choose([16, 2]), gate_bits=choose([8, 2, 15]), weight_bits=choose([8, 4]))


@pytest.mark.parametrize("start", range(0, 120, 30))
def test_compiled_to_the_bit_or_refused(start):
    compiled = 0
    for seed in range(start, start + 30):
        module, x, config = hostile(seed)
        try:
            program = compile_network(module, x[:1], target="loihi2", calibration=x, config=config).program
        except CompileError:
            continue
        (verdict,) = compare(program, encode(program, x.numpy().astype(np.float64)), [Simulator(1)])
        assert verdict.bit_exact, (seed, verdict.first_mismatch)
        compiled += 1
    assert compiled >= 10
