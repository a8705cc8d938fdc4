"""Sparse training: eq. S1 and S2 of LM-H, and that what is cut off is gone from the model and its program."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import hmdf
from hmdf.sim.contract import WeightedOp
from hmdf.train import checkpoint
from hmdf.train.data import Dataset, load
from hmdf.train.errors import ModelError
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.progress import Progress
from hmdf.train.sparsity import Sparsifier, dead_layers, shrunk, threshold_at, zeros_of
from hmdf.train.trainer import TrainingConfig, evaluate, train

SPEC = NetworkSpec("small", (1, 8, 8), 10, time_steps=2, width=8, neuron="plain", weights="float")
CONFIG = TrainingConfig(epochs=3, batch_size=64, sparsify=0.1, backprop="every")


def part(split: str, samples: int) -> Dataset:
    data = load("digits", split)
    return dataclasses.replace(data, inputs=data.inputs[:samples], labels=data.labels[:samples])


TRAIN, TEST = part("train", 200), part("test", 100)


def test_the_threshold_grows_as_a_sine():
    """Eq. S2 at n / N = 0, 1/6, 1/2, 5/6 and 1."""
    found = [threshold_at(0.2, progress) for progress in (0, 1 / 6, 1 / 2, 5 / 6, 1)]
    high = math.sin(math.pi / 3)
    assert found == pytest.approx([0, 0.1 * (1 - high), 0.1, 0.1 * (1 + high), 0.2])


def test_weights_are_shrunk_towards_zero():
    weight = torch.tensor([-0.3, -0.1, 0.0, 0.05, 0.1, 0.25])
    assert torch.allclose(shrunk(weight, 0.1), torch.tensor([-0.2, 0, 0, 0, 0, 0.15]))


@pytest.mark.parametrize("weights", ["float", "ternary"])
def test_the_gradient_reaches_the_weights_that_are_cut_off(weights):
    model = build(dataclasses.replace(SPEC, weights=weights))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    layers = [name for name, p in before.items() if p.dim() >= 2 and "seca" not in name]
    sparsifier = Sparsifier(model, 0.1)
    assert list(sparsifier.weights) == layers  # every convolution, the stem and the classifier too
    x = torch.rand(8, 1, 8, 8)
    with sparsifier.at(0.5):
        for name in layers:
            assert torch.equal(model.get_parameter(name), shrunk(before[name], 0.05))
        model(x).square().sum().backward()
        with sparsifier.opened():
            assert all(torch.equal(model.get_parameter(name), before[name]) for name in layers)
            for name in layers:
                model.get_parameter(name).data -= 0.01 * model.get_parameter(name).grad
    cut = before["classifier.weight"].abs() <= 0.05
    assert cut.any()
    assert bool((model.classifier.weight.grad[cut] != 0).any())
    for name in layers:
        assert torch.equal(model.get_parameter(name), before[name] - 0.01 * model.get_parameter(name).grad)


class Notes(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize("weights", ["float", "ternary"])
def test_zeros_reach_the_program(tmp_path, weights):
    notes = Notes()
    spec = dataclasses.replace(SPEC, weights=weights)
    result = train(spec, CONFIG, TRAIN, TEST, tmp_path, notes)
    dense = train(spec, dataclasses.replace(CONFIG, sparsify=0.0), TRAIN, TEST)
    model = result.build()
    zeros, total = zeros_of(model)
    assert zeros > zeros_of(dense.build())[0] + 0.2 * total
    assert notes.texts == [f"{zeros:,} of {total:,} weights are 0 ({zeros / total:.2%})"]
    assert evaluate(model, TEST, 2)[1] == result.metrics["test_accuracy"]  # tested with the weights that it ends with
    saved = checkpoint.load(tmp_path / "model.pt").state
    assert all(torch.equal(saved[name], tensor) for name, tensor in result.state.items())
    real = checkpoint.load(tmp_path / "resume.pt").state
    assert torch.equal(shrunk(real["stem.weight"], 0.1), saved["stem.weight"])
    assert not torch.equal(real["stem.weight"], saved["stem.weight"])
    x = torch.from_numpy(TEST.inputs[:32]).float() / 16
    ops = {s.name: s.op for s in hmdf.compile(model, x[:1], calibration=x).program.synapses}
    for name, layer in ((n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)):
        op = ops[name]
        assert isinstance(op, WeightedOp)
        if weights == "float" or name in ("stem", "classifier"):
            assert np.all(op.weight[layer.weight.detach().numpy() == 0] == 0)
        else:
            assert np.array_equal(op.weight, layer.quantized()[0].numpy())


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path):
    whole = train(SPEC, CONFIG, TRAIN, TEST)

    class Stop(Progress):
        def batch(self, epoch: int, *_figures: object) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SPEC, CONFIG, TRAIN, TEST, tmp_path, Stop())
    resumed = train(SPEC, CONFIG, TRAIN, TEST, tmp_path, resume=True)
    assert all(torch.equal(whole.state[name], tensor) for name, tensor in resumed.state.items())
    slices = dataclasses.replace(CONFIG, backprop="slices", slice=2)
    stbp = dataclasses.replace(CONFIG, backprop="stbp")
    one, other = train(SPEC, slices, TRAIN, TEST), train(SPEC, stbp, TRAIN, TEST)
    assert all(torch.equal(one.state[name], tensor) for name, tensor in other.state.items())


def test_binary_weights_have_no_zero():
    with pytest.raises(ModelError, match="binary weights, which are never 0: take ternary or float"):
        train(dataclasses.replace(SPEC, weights="binary"), CONFIG, TRAIN, TEST)


def test_a_layer_that_is_cut_off_is_named_in_training_and_by_the_compiler():
    """A threshold beyond every weight of the layers with the most inputs: it is passed in the second epoch."""
    notes = Notes()
    config = dataclasses.replace(CONFIG, epochs=2, sparsify=0.15, learning_rate=1e-6)
    model = train(SPEC, config, TRAIN, TEST, None, notes).build()
    dead = dead_layers(model)
    assert dead
    assert "classifier" not in dead
    names = ", ".join(f"'{name}'" for name in dead)
    assert f"epoch 2: all weights of {names} are 0; a lower --sparsify keeps some" in notes.warnings
    x = torch.from_numpy(TEST.inputs[:8]).float() / 16
    said = {n.where: n.problem for n in hmdf.compile(model, x[:1], calibration=x).notes}
    assert all("weights are 0: nothing that" in said[name] for name in dead)
