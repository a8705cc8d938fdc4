"""QCFS activations, and the networks of LM-H neurons that an ANN of them becomes."""

import dataclasses
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hmdf
from hmdf.export.errors import CompileError
from hmdf.tools import train as cli
from hmdf.train import checkpoint
from hmdf.train.conversion import convert
from hmdf.train.data import Preprocessing
from hmdf.train.errors import ModelError
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.neurons import MultiHierarchical, Neuron, QuantisedActivation
from hmdf.train.online import run

LEVELS = 4


def ann_of(**options) -> checkpoint.Checkpoint:
    """An untrained ANN whose BatchNorms and thresholds are not what they start as."""
    spec = NetworkSpec("resnet20", (2, 8, 8), 3, 1, width=4, neuron="qcfs", **{"threshold": 1.5, **options})
    torch.manual_seed(0)
    model = build(spec)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("norm.weight", "running_var")):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("norm.bias", "running_mean")):
                tensor.normal_(0, 0.5)
            elif name.endswith("theta"):
                tensor.uniform_(0.5, 2)
    return checkpoint.Checkpoint(
        spec, Preprocessing(16.0, (0.3,), (0.4,)), ("a", "b", "c"), "digits", model.state_dict()
    )


def test_the_activation_and_its_gradients():
    """Eq. 10 at L = 4, theta = 2: steps of 1/2 from x = 1/4 on; d/dx is 1 within, d/dtheta is (a - x) / theta there."""
    act = QuantisedActivation(1, 4, 2.0)
    x = torch.tensor([[-1.0, -0.2, 0.2, 0.3, 1.2, 1.9, 3.0]], requires_grad=True)
    a = act(x)
    assert torch.allclose(a, torch.tensor([[0, 0, 0, 0.5, 1, 2, 2]]))
    found = [torch.autograd.grad(one, (x, act.theta), retain_graph=True) for one in a[0]]
    inside = [0.0, 1, 1, 1, 1, 1, 0]
    assert [float(gx.sum()) for gx, _ in found] == inside
    pairs = zip(a[0].tolist(), x[0].tolist(), inside, strict=True)
    wanted = [(value - point) / 2 if within else float(point > 0) for value, point, within in pairs]
    assert [float(gtheta) for _, gtheta in found] == pytest.approx(wanted, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 16), st.floats(0.1, 8), st.lists(st.floats(-4, 12), min_size=1, max_size=20))
def test_the_mean_of_the_spikes_is_the_activation(levels, theta, currents):
    """The theorem: a constant current, T = L, v_0 = theta / 2. In double precision, away from the steps themselves."""
    x = torch.tensor([currents], dtype=torch.float64)
    step = x * levels / theta + 0.5
    x = torch.where((step - step.round()).abs() < 1e-9, x + 1e-3 * theta / levels, x)
    act = QuantisedActivation(1, levels, theta).double()
    act.theta.data = torch.tensor(theta, dtype=torch.float64)
    neuron = MultiHierarchical(1, levels, threshold=theta).double()
    neuron.spike.lsb = torch.tensor(theta, dtype=torch.float64)
    with torch.no_grad():
        spikes = [neuron.fire(x, step) for step in range(levels)]
        assert torch.allclose(torch.stack(spikes).mean(0), act(x), atol=1e-9)


@pytest.mark.parametrize(
    ("neuron", "norm", "becomes"),
    [
        ("lm-h", "step", None),
        ("lm-h-radical", "step", None),
        ("lm-h", "each", None),
        ("lm-h", "step", "each"),
        ("lm-h", "each", "time"),
    ],
)
def test_a_converted_network(neuron, norm, becomes):
    """Weights and norms stay, thresholds are the thetas, the first neurons' mean is their activation."""
    ann = ann_of(norm=norm, initial_potential=0.1)
    spec, state = convert(ann, neuron, norm=becomes)
    known = {"threshold": None, "initial_potential": 0.5, "norm": becomes or norm}
    assert spec == dataclasses.replace(ann.network, neuron=neuron, time_steps=LEVELS, **known)
    model, source = build(spec).eval(), ann.build()
    model.load_state_dict(state)
    assert all(value.any() for name, value in state.items() if name.endswith(("running_var", "running_mean")))
    kept = set(source.state_dict()) & set(state)
    assert all(torch.equal(source.state_dict()[name], state[name]) for name in kept if not name.endswith("lsb"))
    pairs = zip(
        (m for m in source.modules() if isinstance(m, Neuron)), (m for m in model.modules() if isinstance(m, Neuron)),
        strict=True,
    )  # fmt: skip
    for act, made in pairs:
        assert torch.equal(made.threshold(), act.threshold().expand(LEVELS))
        assert all(bool((factor == factor.round()).all()) for factor in made.factors().values())
    spikes, activation, x = [], [], torch.randn(8, 2, 8, 8)
    model.stem_act.register_forward_hook(lambda _m, _i, output: spikes.append(output))
    source.stem_act.register_forward_hook(lambda _m, _i, output: activation.append(output))
    with torch.no_grad():
        run(model, x, LEVELS)
        run(source, x, 1)
    different = (torch.stack(spikes).mean(0) - activation[0]).abs() > 1e-5
    assert different.float().mean() < 1e-3  # a current may lie on a step up to rounding


@pytest.mark.parametrize(
    ("ann", "neuron", "message"),
    [
        (
            dataclasses.replace(ann_of(), network=NetworkSpec("small", (2, 8, 8), 3)),
            "lm-h",
            "only an ANN of qcfs neurons",
        ),
        (ann_of(), "plain", "becomes one of lm-h or lm-h-radical"),
        (
            ann_of(stem="imagenet"),
            "lm-h",
            "resnet20 has a max-pool, .* train the ANN with --pool average, --stem cifar",
        ),
        (dataclasses.replace(ann_of(), slim=True), "lm-h", "slim checkpoint has no real-valued weights"),
    ],
)
def test_what_cannot_be_converted(ann, neuron, message):
    with pytest.raises(ModelError, match=message):
        convert(ann, neuron)


def test_the_compiler_says_what_an_ann_needs():
    model = ann_of().build()
    with pytest.raises(CompileError, match=r"QCFS activation sends no spikes.*hmdf-train --from"):
        hmdf.compile(model, torch.zeros(1, 2, 8, 8), calibration=torch.zeros(1, 2, 8, 8))


def command(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hmdf-train", *arguments])
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code
    return 0


def test_hybrid_training(monkeypatch, capsys, tmp_path, data):
    """The two commands of the manual: an ANN without time, then a spiking network from it; resumed, the same bits."""
    ann, snn, again = (str(tmp_path / name) for name in ("ann", "snn", "again"))
    small = "--batch-size", "16", "--threads", "1"
    known = "--data", data, "--width", "4", "--neuron", "qcfs", "--levels", "2", "--threshold", "1"
    assert command(monkeypatch, *known, "--epochs", "2", *small, "--out", ann) == 0
    trained = checkpoint.load(f"{ann}/model.pt")
    assert (trained.network.neuron, trained.network.time_steps, trained.network.levels) == ("qcfs", 1, 2)
    capsys.readouterr()
    start = "--from", f"{ann}/model.pt", "--data", data, "--neuron", "lm-h", *small
    assert command(monkeypatch, *start, "--epochs", "2", "--out", snn) == 0
    printed = capsys.readouterr().out
    assert f"(2 levels, test acc {trained.metrics['test_accuracy']:.4f}) to lm-h neurons, T = 2" in printed
    made = checkpoint.load(f"{snn}/model.pt")
    assert (made.network.neuron, made.network.time_steps, made.training["backprop"]) == ("lm-h", 2, "stbp")
    assert made.training["learning_rate"] == 0.002
    log = (tmp_path / "snn" / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["epoch", "0", "1", "2"]
    assert log[1].startswith("0,,,")  # before training: no training figures, test loss and accuracy
    assert 0 <= float(log[1].split(",")[4]) <= 1

    def stop(_display: object, epoch: int, *_figures: object) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cli._Display, "batch", stop)
        assert command(monkeypatch, *start, "--epochs", "2", "--out", again) != 0
    assert len((tmp_path / "again" / "metrics.csv").read_text().splitlines()) == 3
    assert command(monkeypatch, *start, "--epochs", "2", "--resume", "--out", again) == 0
    for one, other in zip(log, (tmp_path / "again" / "metrics.csv").read_text().splitlines(), strict=True):
        assert one.rpartition(",")[0] == other.rpartition(",")[0]  # but for the seconds
    resumed = checkpoint.load(f"{again}/model.pt").state
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in made.state.items())
    checkpoint.save(
        f"{ann}/model.pt",
        dataclasses.replace(trained, state={**trained.state, "stem.weight": -trained.state["stem.weight"]}),
    )
    assert command(monkeypatch, *start, "--epochs", "3", "--resume", "--out", again) == 3
    assert "the run did not start from this model" in " ".join(capsys.readouterr().err.split())


def test_a_converted_network_with_norms_over_time_and_fixed_factors(monkeypatch, tmp_path, data):
    ann, snn = str(tmp_path / "ann"), str(tmp_path / "snn")
    small = "--batch-size", "16", "--threads", "1", "--epochs", "1", "--data", data
    known = "--width", "4", "--neuron", "qcfs", "--levels", "2", "--threshold", "1", "--norm", "time"
    assert command(monkeypatch, *known, *small, "--out", ann) == 0  # at T = 1 no other than "step"
    changed = "--norm", "each", "--fixed-factors"
    assert command(monkeypatch, "--from", f"{ann}/model.pt", *changed, *small, "--out", snn) == 0
    made = checkpoint.load(f"{snn}/model.pt")
    assert (made.network.norm, made.network.learn_factors) == ("each", False)
    neurons = [module for module in made.build().modules() if isinstance(module, MultiHierarchical)]
    assert [float(values[0]) for values in neurons[0].factors().values()] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--width", "8"), "has width = 4, and a converted network keeps it (got 8)"),
        (("--neuron", "plain"), "becomes one of lm-h or lm-h-radical neurons (got plain)"),
        (("--threshold", "1"), "has threshold = 1.5, and a converted network keeps it (got 1.0)"),
        (("--data", "digits"), "digits: not normalised as the data that"),
    ],
)
def test_what_does_not_fit_the_ann_is_said(monkeypatch, capsys, tmp_path, arguments, message):
    checkpoint.save(tmp_path / "model.pt", ann_of())
    code = command(monkeypatch, "--from", str(tmp_path / "model.pt"), *arguments, "--out", str(tmp_path / "out"))
    printed = " ".join(capsys.readouterr().err.split())
    assert code == 3
    assert message in printed
