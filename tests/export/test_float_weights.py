"""Full-precision synapses become 8-bit weights with a scale per channel."""

import numpy as np
import pytest
import torch
from networks import images, settled

import hmdf
from hmdf.sim import reference
from hmdf.sim.contract import Synapse, WeightedOp
from hmdf.sim.encoder import encode
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator
from hmdf.train.networks import NetworkSpec, build


def compiled(**options) -> tuple[Program, torch.nn.Module, np.ndarray]:
    torch.manual_seed(0)
    model = build(NetworkSpec("resnet20", (2, 8, 8), 5, time_steps=2, width=8, weights="float", **options))
    x = images(40)
    samples = torch.from_numpy(x).float()
    settled(model, samples, 2)
    return hmdf.compile(model, samples[:1], calibration=samples).program, model, x


@pytest.mark.parametrize(
    "options", [{"neuron": "plain"}, {"neuron": "mpbn", "seca": "II", "parallel": "second"}, {"neuron": "lif"}]
)
def test_a_network_of_full_precision_runs_in_integers(options):
    program, model, x = compiled(**options)
    synapses = {node.name: node.op for node in program.nodes if isinstance(node, Synapse)}
    convolutions = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert len(convolutions) == 21
    for name, module in convolutions.items():
        op, weight = synapses[name], module.weight.detach().double().numpy()
        assert isinstance(op, WeightedOp)
        largest = np.abs(weight).max((1, 2, 3), keepdims=True)
        assert op.weight_bits == 8
        assert np.array_equal(op.weight, np.rint(weight / largest * 127)), name
    messages = encode(program, x[:6])
    assert np.array_equal(reference.run(program, messages).logits, Simulator(1).run(program, messages).logits)
