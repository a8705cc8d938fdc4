import json
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hmdf.tools import inspect as cli
from hmdf.train import checkpoint
from hmdf.train.data import load, normalise
from hmdf.train.inspection import BINS, compare_gradients, observe
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.neurons import GradedSpike, HybridFiring, ParallelFiring, set_online
from hmdf.train.online import run

T = 3
X = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(10)


def small(**options):
    torch.manual_seed(1)
    return build(NetworkSpec("small", (1, 8, 8), 10, time_steps=T, width=8, **options))


class OneNeuron(nn.Module):
    """Passes its input, with an offset, through one neuron layer."""

    def __init__(self, neuron: nn.Module, offset: float = 0.0) -> None:
        super().__init__()
        self.neuron = neuron
        self.offset = offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.neuron(x + self.offset)


def test_a_membrane_is_what_the_equations_say():
    neuron = HybridFiring(2, T, spike=GradedSpike(bits=4, lsb=0.25))
    with torch.no_grad():
        neuron.leak_logit.copy_(torch.tensor([0.3, -0.5, 1.0]))
        neuron.threshold_logit.copy_(torch.tensor([-1.0, 0.2, 0.5]))
    frames = torch.randn(7, T, 2, 3, 3, generator=torch.Generator().manual_seed(2)) * 2
    (seen,) = observe(OneNeuron(neuron), frames, T, batch_size=3)
    leak, theta = neuron.leak().float(), neuron.threshold().float()
    v, above = torch.zeros(7, 2, 3, 3), []
    for t in range(T):
        margin = leak[t] * v + frames[:, t] - theta[t]
        v = leak[t] * v + frames[:, t] - margin.clamp(min=0)
        above.append(margin > 0)
        assert seen.firing_rate[t] == pytest.approx(float((margin > 0.125).float().mean()))
        assert seen.margin_mean[t] == pytest.approx(float(margin.mean()), abs=1e-5)
        assert seen.margin_std[t] == pytest.approx(float(margin.std(correction=0)), abs=1e-5)
        low, high = seen.margin_range
        expected, _ = np.histogram(margin.clamp(low, high).numpy(), BINS, (low, high))
        assert np.abs(np.subtract(seen.margins[t], expected)).sum() <= 4  # a value may lie on the edge of two bins
        assert sum(seen.margins[t]) == margin.numel()
    every, any_ = torch.stack(above).all(0), torch.stack(above).any(0)
    assert seen.steady == pytest.approx(float((every | ~any_).float().mean()))
    assert 0 < seen.steady < 1
    assert (seen.leak, seen.threshold) == (tuple(neuron.leak().tolist()), tuple(neuron.threshold().tolist()))
    assert (seen.alpha, seen.beta) == (None, None)


@pytest.mark.parametrize(("offset", "rate"), [(20.0, 1.0), (-20.0, 0.0)])
def test_neurons_that_never_cross_their_threshold_are_steady(offset, rate):
    (seen,) = observe(OneNeuron(HybridFiring(2, T), offset), torch.randn(4, 2, 3, 3), T)
    assert seen.steady == 1
    assert seen.firing_rate == (rate,) * T


def test_layers_come_in_order_with_their_own_parameters():
    model = small(neuron="mpbn", parallel="second")
    seen = observe(model, X, T)
    assert [layer.name for layer in seen] == ["block.act1", "block.act2", "act3", "act4"]
    for layer in seen:
        neuron = model.get_submodule(layer.name)
        assert (layer.leak is None) == isinstance(neuron, ParallelFiring)
        assert layer.alpha == tuple(neuron.alpha().tolist())
        assert layer.beta == tuple(neuron.beta().tolist())
        assert (layer.spike_bits, layer.spike_lsb) == (4, 0.25)


def test_a_model_is_left_as_it_was():
    model = small().train()
    model.block.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    observe(model, X, T)
    compare_gradients(model, [(X, LABELS)], T)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
    assert not model.block.training
    assert model.block.act1.v is None
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_cosines_are_those_of_the_two_gradients():
    found = compare_gradients(small(neuron="plain"), [(X, LABELS), (X.flip(0), LABELS)], T)
    gradients = []
    for online in (True, False):
        model = small(neuron="plain").train()
        set_online(model, online)
        functional.cross_entropy(run(model, X, T).flatten(0, 1), LABELS.repeat(T)).backward()
        gradients.append(model)
    for layer in found:
        a, b = (model.get_submodule(layer.name).weight.grad.flatten() for model in gradients)
        assert layer.cosine[0] == pytest.approx(float(torch.cosine_similarity(a, b, dim=0)), abs=1e-5)
        assert layer.ratio[0] == pytest.approx(float(a.norm() / b.norm()), rel=1e-4)
        assert len(layer.cosine) == len(layer.ratio) == 2
    by_name = {layer.name: layer for layer in found}
    assert by_name["classifier"].cosine == pytest.approx((1, 1))
    assert max(by_name["stem"].cosine) < 0.9999


def test_gradients_agree_without_membranes():
    for layer in compare_gradients(small(parallel="all"), [(X, LABELS)], T):
        assert layer.cosine == pytest.approx((1,), abs=1e-6)
        assert layer.ratio == pytest.approx((1,), abs=1e-5)


def test_no_gradient_has_no_direction():
    model = small()
    with torch.no_grad():
        model.classifier.weight.zero_()
    stem = compare_gradients(model, [(X, LABELS)], T)[0]
    assert (stem.name, stem.cosine, stem.ratio) == ("stem", (None,), (None,))


# ------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """An untrained network as a checkpoint of hmdf-train."""
    spec, data = NetworkSpec("small", (1, 8, 8), 10, time_steps=T, width=4, parallel="second"), load("digits", "test")
    path = tmp_path_factory.mktemp("model") / "model.pt"
    network = build(spec)
    checkpoint.save(
        path, checkpoint.Checkpoint(spec, data.preprocessing, data.class_names, "digits", network.state_dict())
    )
    return path


def inspect(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hmdf-inspect", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def test_the_command_writes_tables_plots_and_json(monkeypatch, capsys, tmp_path, model_file):
    assert inspect(monkeypatch, str(model_file), "--batch-size", "100", "--out", str(tmp_path)) == 0
    names = {f"{name}.{form}" for name in ("parameters", "firing", "membranes", "gradients") for form in ("png", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == names | {"insight.json"}
    for name in names:
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")
    assert "block.layer1.conv" in (tmp_path / "gradients.svg").read_text()
    document = json.loads((tmp_path / "insight.json").read_text())
    assert (document["samples"], document["mini_batches"]) == (256, [100, 100, 56])
    data = load("digits", "test")
    chosen = np.unique(np.linspace(0, 354, 256).astype(int))
    x = torch.from_numpy(normalise(data.inputs[chosen], data.preprocessing))
    expected = observe(checkpoint.load(model_file).build(), x, T)
    assert [layer["firing_rate"] for layer in document["neurons"]] == [list(layer.firing_rate) for layer in expected]
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith(("block.act1 ", "act4 "))]
    assert len(rows) == 2
    assert f"{expected[0].firing_rate[0]:.1%}" in rows[0]
    assert sum(line.startswith("classifier") for line in lines) == 1


def test_the_same_model_gives_the_same_files(monkeypatch, tmp_path, model_file):
    for run_name in ("a", "b"):
        assert inspect(monkeypatch, str(model_file), "--out", str(tmp_path / run_name)) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["MODEL", "--epochs", "3"], 2, "No such option"),
        ([], 2, "Missing argument 'MODEL'"),
        (["none.pt"], 3, "none.pt: no such file"),
        (["MODEL", "--data", "digit"], 3, "did you mean 'digits'"),
        (["MODEL", "--data", "OTHER.npz"], 3, "images are (1, 9, 9) but the network takes (1, 8, 8)"),
    ],
)
def test_bad_input_ends_with_one_message(monkeypatch, capsys, tmp_path, model_file, arguments, code, message):
    np.savez(tmp_path / "OTHER.npz", images=np.zeros((50, 9, 9), np.uint8), labels=np.arange(50) % 10)
    monkeypatch.chdir(tmp_path)
    arguments = [str(model_file) if argument == "MODEL" else argument for argument in arguments]
    assert inspect(monkeypatch, *arguments, "--out", str(tmp_path / "out")) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_data_that_are_gone_are_asked_for(monkeypatch, capsys, tmp_path, model_file):
    gone = tmp_path / "model.pt"
    found = checkpoint.load(model_file)
    checkpoint.save(
        gone, checkpoint.Checkpoint(found.network, found.preprocessing, found.class_names, "mine", found.state)
    )
    assert inspect(monkeypatch, str(gone), "--out", str(tmp_path)) == 3
    error = capsys.readouterr().err
    assert "trained on 'mine'" in error
    assert "give --data" in error
