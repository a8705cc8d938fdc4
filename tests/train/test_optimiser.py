import pytest
import torch
from torch import nn

from hmdf.train.config import TrainingConfig
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.optimiser import Muon, Optimiser, orthogonal

SPEC = NetworkSpec("small", (1, 8, 8), 10, width=8)


def model_with_gradients(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = build(SPEC).to(memory_format=torch.channels_last)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("shape", [(16, 144), (32, 32), (40, 9)])
def test_orthogonal_is_u_v_transposed(shape):
    torch.manual_seed(0)
    u, values, vh = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = u @ torch.diag(torch.linspace(0.1, 3, len(values))) @ vh
    # the polynomial's singular values; the singular vectors are those of the matrix
    inside = u.T @ orthogonal(matrix) @ vh.T
    assert ((inside.diagonal() > 0.6) & (inside.diagonal() < 1.25)).all()
    assert (inside - torch.diag(inside.diagonal())).abs().max() < 1e-3


def test_muon_is_that_of_torch():
    """torch.optim.Muon orthogonalises in bfloat16: two or three digits."""
    torch.manual_seed(0)
    start = torch.randn(24, 72)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimisers = Muon([ours], 0.1, 0.5), torch.optim.Muon([theirs], lr=0.1, weight_decay=0.5)
    for _ in range(4):
        ours.grad = torch.randn(24, 72)
        theirs.grad = ours.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.03 * moved


def test_muon_moves_the_low_bit_convolutions_and_sgd_the_rest():
    models = {name: model_with_gradients() for name in ("sgd", "muon")}
    start = {name: p.detach().clone() for name, p in models["sgd"].named_parameters()}
    for name, model in models.items():
        Optimiser(model, TrainingConfig(optimizer=name)).step()
    for name, by_sgd in models["sgd"].named_parameters():
        by_muon = models["muon"].get_parameter(name)
        assert not torch.equal(by_sgd, start[name])
        low_bit = name.startswith(("block.layer", "layer3")) and name.endswith("conv.weight")
        assert torch.equal(by_sgd, by_muon) != low_bit, name


def test_rates_are_shares_of_their_peaks():
    config = TrainingConfig(optimizer="muon", learning_rate=0.2, muon_learning_rate=0.04)
    optimiser = Optimiser(model_with_gradients(), config)
    optimiser.set_rate(0.25)
    rates = [{group["lr"] for group in part.param_groups} for part, _ in optimiser.parts]
    assert rates == [{0.05}, {0.01}]


@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_goes_on_from_its_state(name):
    config = TrainingConfig(optimizer=name)
    straight, halted = model_with_gradients(), model_with_gradients()
    one, other = Optimiser(straight, config), Optimiser(halted, config)
    one.step()
    other.step()
    resumed = Optimiser(halted, config)
    resumed.load_state_dict(other.state_dict())
    one.step()
    resumed.step()
    for (key, a), b in zip(straight.named_parameters(), halted.parameters(), strict=True):
        assert torch.equal(a, b), key


def test_a_state_of_another_optimiser_is_refused():
    state = Optimiser(model_with_gradients(), TrainingConfig()).state_dict()
    with pytest.raises(ValueError, match="group"):
        Optimiser(model_with_gradients(), TrainingConfig(optimizer="muon")).load_state_dict(state)


def test_no_gradient_no_update():
    model = model_with_gradients()
    weight = model.layer3.conv.weight
    weight.grad = None
    before = weight.detach().clone()
    Optimiser(model, TrainingConfig(optimizer="muon")).step()
    assert torch.equal(weight, before)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_the_form_for_gpus_makes_the_same_steps(optimizer, monkeypatch):
    config = TrainingConfig(optimizer=optimizer)
    models, states = [], []
    for on_gpu in (False, True):
        monkeypatch.setattr(Optimiser, "_on_gpu", on_gpu)
        torch.manual_seed(0)
        model = build(NetworkSpec("small", (1, 8, 8), 10, width=4, neuron="plain"))
        optimiser = Optimiser(model, config)
        for step in range(6):
            for number, parameter in enumerate(model.parameters()):
                unused = number % 5 == 0 and step % 3 == 0  # as the leak is where the first time-step is drawn
                parameter.grad = None if unused else torch.randn(parameter.shape).to(parameter.dtype)
            optimiser.set_rate(0.5 + 0.1 * step)
            optimiser.step()
            if step in (0, 3):  # go on from a saved state, then in the other form for a step
                state = optimiser.state_dict()
                monkeypatch.setattr(Optimiser, "_on_gpu", on_gpu if step == 3 else not on_gpu)
                optimiser = Optimiser(model, config)
                optimiser.load_state_dict(state)
        models.append(model)
        states.append(optimiser.state_dict())
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for part in states[1]["parts"]:
        assert all(isinstance(group["lr"], float) for group in part["param_groups"])
