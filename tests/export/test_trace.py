"""Tracing: what is supported arrives as written, what is not is reported in full, with module path and source line."""

import inspect

import numpy as np
import pytest
import torch
from networks import module_logits, randomised, small
from torch import nn

from hmdf.export.errors import CompileError
from hmdf.export.evaluate import evaluate
from hmdf.export.neurons import TRAINED
from hmdf.export.passes.fold import fold
from hmdf.export.passes.trace import trace
from hmdf.train.neurons import (
    GradedSpike,
    HybridFiring,
    MultiHierarchical,
    Neuron,
    ParallelFiring,
    QuantisedActivation,
)


def findings_of(module: nn.Module, x: torch.Tensor) -> list:
    with pytest.raises(CompileError) as caught:
        trace(module, x)
    return list(caught.value.findings)


class Unsupported(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding="same")
        self.gelu = nn.GELU()
        self.norm = nn.LayerNorm([4, 8, 8])

    def forward(self, x):
        x = self.gelu(self.conv(x))
        x = self.norm(x)
        x = torch.softmax(x, 1)
        return x.amax((2, 3))


def line_of(function, text: str) -> int:
    lines, start = inspect.getsourcelines(function)
    return start + next(i for i, line in enumerate(lines) if text in line)


def test_all_unsupported_operations_are_found_at_once_with_path_and_line():
    findings = findings_of(Unsupported(), torch.zeros(1, 1, 8, 8))
    assert [f.where for f in findings] == ["conv", "gelu", "norm", "Unsupported", "Unsupported"]
    assert "same" in findings[0].problem
    for finding, text in zip(findings, ["self.gelu", "self.gelu", "self.norm", "softmax", "amax"], strict=True):
        assert finding.source == f"test_trace.py:{line_of(Unsupported.forward, text)}"


def test_the_message_says_what_is_supported():
    with pytest.raises(CompileError, match=r"supported are HybridFiring.*nn\.Conv2d"):
        trace(Unsupported(), torch.zeros(1, 1, 8, 8))


class Branching(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x


def test_control_flow_on_values_is_a_finding():
    (finding,) = findings_of(Branching(), torch.zeros(1, 1, 8, 8))
    assert finding.where == "Branching"
    assert finding.source == f"test_trace.py:{line_of(Branching.forward, 'if x.sum')}"
    assert "must not branch" in finding.fix


def test_an_example_that_does_not_fit_names_the_layer():
    (finding,) = findings_of(small(), torch.zeros(1, 3, 8, 8))
    assert finding.where == "stem"
    assert "3 channels" in finding.problem


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_a_number_is_named(value):
    module = small()
    with torch.no_grad():
        module.block.layer1.conv.weight[1, 0, 2, 1] = value
    (finding,) = findings_of(module, torch.zeros(1, 2, 8, 8))
    assert finding.where == "block.layer1.conv"
    assert "weight[1, 0, 2, 1]" in finding.problem


def test_a_membrane_neuron_called_twice_is_a_finding():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = HybridFiring(1, 2)
            self.head = nn.Linear(64, 2)

        def forward(self, x):
            return self.head(torch.flatten(self.act(self.act(x)), 1))

    findings = findings_of(Twice(), torch.zeros(1, 1, 8, 8))
    assert "called 2 times" in findings[0].problem


def test_tracing_leaves_the_module_as_it_was():
    module = small().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trace(module, torch.randn(2, 2, 8, 8))
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


class TwoInputs(nn.Module):
    """Two inputs, merged by concatenation and by a sum; a slice; odd sizes."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.right = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.act = ParallelFiring(8, 3, spike=GradedSpike(None))
        self.mix = nn.Conv2d(8, 4, 1)
        self.part = nn.Conv2d(3, 4, (1, 3), padding=(0, 1))
        self.last = HybridFiring(4, 3, mpbn=True, spike=GradedSpike(None))
        self.head = nn.Linear(4, 2)

    def forward(self, a, b):
        spikes = self.act(torch.cat([self.left(a), self.right(b)], 1))
        current = self.mix(spikes) + self.part(spikes[:, 2:5])
        return self.head(self.last(current).mean((2, 3)))


def test_two_inputs_become_channels_of_one():
    torch.manual_seed(0)
    module = randomised(TwoInputs().double(), 4)
    a, b = torch.randn(3, 2, 7, 9).double(), torch.randn(3, 3, 7, 9).double()
    graph = fold(trace(module, (a, b)))
    assert graph.input_shape == (5, 7, 9)

    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            return self.inner(x[:, :2], x[:, 2:])

    x = torch.cat([a, b], 1)
    with torch.no_grad():
        expected = module_logits(Stacked(), x, 3).numpy()
    got = evaluate(graph, x.numpy()).logits
    assert abs(got - expected).max() < 1e-9 * abs(expected).max()


class Overwrites(nn.Module):
    """Adds in place, in one of several ways."""

    def __init__(self, how: str):
        super().__init__()
        self.how, self.same = how, nn.Identity()
        self.conv, self.classifier = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(1, 3)

    def forward(self, x):
        current = self.conv(x)
        other = self.same(current)
        match self.how:
            case "operator":
                current += x
            case "method":
                other.add_(x)
            case "scale":
                other *= 2
            case "input":
                x += current
                return self.classifier(x.mean((2, 3)))
        return self.classifier((other if self.how == "operator" else current).mean((2, 3)))


@pytest.mark.parametrize(
    ("how", "changed"),
    [
        ("operator", "a tensor that is read again under its old name"),
        ("method", "a tensor that is read again under its old name"),
        ("scale", "a tensor that is read again under its old name"),
        ("input", "the input, which the next time-step reads"),
    ],
)
def test_a_lost_in_place_change_is_a_finding(how, changed):
    (finding,) = findings_of(Overwrites(how), torch.zeros(1, 1, 6, 6))
    assert changed in finding.problem
    text = {"operator": "current += x", "method": "add_(x)", "scale": "other *= 2", "input": "x += current"}[how]
    assert finding.source == f"test_trace.py:{line_of(Overwrites.forward, text)}"


class InPlaceResidual(nn.Module):
    """The usual form, in which nobody reads the old value."""

    def __init__(self):
        super().__init__()
        self.conv, self.classifier = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(1, 3)

    def forward(self, x):
        current = self.conv(x)
        current += x
        current *= 0.5
        return self.classifier(current.mean((2, 3)))


def test_an_in_place_residual_is_traced():
    module = randomised(InPlaceResidual(), 3).double().requires_grad_(False)
    x = torch.randn(4, 1, 6, 6, dtype=torch.float64)
    expected = module_logits(module, x, 1)
    assert np.allclose(evaluate(fold(trace(module, x)), x.numpy()).logits, expected, rtol=1e-9)


@pytest.mark.parametrize("variance", [0.0, -1.0])
def test_a_variance_without_a_root_is_a_finding(variance):
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, eps=0.0), nn.Flatten(), nn.Linear(64, 3))
    module[1].running_var[2] = variance
    (finding,) = findings_of(module, torch.zeros(1, 1, 6, 6))
    assert finding.where == "1"
    assert f"the variance of channel 2 plus eps is {variance:g}" in finding.problem


class Raises(nn.Module):
    def forward(self, x):
        raise NotImplementedError


def test_an_error_without_a_message_is_told():
    (finding,) = findings_of(Raises(), torch.zeros(1, 3))
    assert "NotImplementedError" in finding.problem


class WithConstants(nn.Module):
    """Arithmetic with numbers, and with tensors computed from parameters alone: scalars, and one value per channel."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor([2.0]))
        self.gain = nn.Parameter(torch.tensor([0.5, -1.0, 3.0])[:, None, None])
        self.conv, self.classifier = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(3, 2)

    def forward(self, x):
        x = self.conv(x) * (torch.sigmoid(self.a) * 0.5)
        x = self.gain.exp() * x / self.b + 0.25
        x = x + self.gain.squeeze()[:, None, None]
        return self.classifier(x.mean((2, 3))) * self.a


def test_arithmetic_with_constants_is_traced():
    module = randomised(WithConstants(), 3).double().requires_grad_(False)
    x = torch.randn(4, 1, 6, 6, dtype=torch.float64)
    expected = module_logits(module, x, 1)
    assert np.allclose(evaluate(fold(trace(module, x)), x.numpy()).logits, expected, rtol=1e-9)


class Constant(nn.Module):
    """Does one thing with a parameter."""

    def __init__(self, how: str):
        super().__init__()
        self.how, self.classifier = how, nn.Linear(2, 3)
        self.p = nn.Parameter(torch.ones(1, 2, 6, 6))
        with torch.no_grad():
            self.p[0, 1, 2, 3] = 2
        self.zero = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        match self.how:
            case "uneven":
                x = x * self.p
            case "zero":
                x = x / self.zero
            case "read":
                x = torch.cat([x, self.p.mean((2, 3), keepdim=True).expand(1, 2, 6, 6)], 1)[:, :2]
        return self.classifier(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("uneven", "a constant of shape (1, 2, 6, 6) is not one value per channel"),
        ("zero", "it divides by 0"),
        ("read", "what does not depend on the input is read as if it did"),
    ],
)
def test_a_constant_that_has_no_layer_is_a_finding(how, problem):
    findings = findings_of(Constant(how), torch.zeros(1, 2, 6, 6))
    assert findings[0].problem == problem


def test_an_initial_state_that_is_no_number_is_a_finding():
    neuron = MultiHierarchical(1, 2, initial_potential=float("nan"))
    (finding,) = findings_of(
        nn.Sequential(nn.Conv2d(1, 1, 3), neuron, nn.Flatten(), nn.Linear(16, 2)), torch.zeros(1, 1, 6, 6)
    )
    assert (finding.where, finding.problem) == ("1", "its state v is nan before the first step")


def test_every_spiking_neuron_that_can_be_trained_is_compiled():
    def leaves(kind):
        return {leaf for sub in kind.__subclasses__() for leaf in leaves(sub)} or {kind}

    trained = {kind for kind in leaves(Neuron) if kind.__module__.startswith("hmdf.train.neurons.")}
    assert HybridFiring in trained
    assert trained == {*TRAINED, QuantisedActivation}  # of an ANN, which is refused
