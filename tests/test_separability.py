"""The experiment on separability: its rules of gradients, on a small network of random weights."""

from pathlib import Path

import pytest
import torch
from torch import nn

from hmdf.train.networks import NetworkSpec, build
from hmdf.train.online import backward_every

ROOT = Path(__file__).parents[1]


@pytest.fixture
def separability(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from experiments import separability

    return separability


def network(**options) -> nn.Module:
    torch.manual_seed(0)
    return build(NetworkSpec("small", (2, 8, 8), 5, 3, width=4, spike_bits=None, **options))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 2, 8, 8, generator=generator), torch.arange(8) % 5


def test_without_a_trace_ottts_gradient_is_the_online_one(separability, monkeypatch):
    monkeypatch.setattr(separability, "TRACE", 0.0)
    model = network(neuron="lif").double()
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    x, labels = batch()
    with separability.operators(), separability.Traces(layers) as traces:
        online = separability.gradients(model, layers, backward_every, x.double(), labels)
    assert len(layers) > 2
    for name, gradient in online.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(traces.gradients[name], gradient)


def test_parallel_neurons_are_separable_and_lif_is_not(separability):
    """Without membrane, nothing crosses time-steps: the online gradient is that through time."""
    found = {neuron: separability.compare(network(neuron=neuron), [batch()], 0.0) for neuron in ("parallel", "lif")}
    assert found["parallel"].online == pytest.approx(1, abs=1e-6)
    assert found["lif"].online < 0.99
