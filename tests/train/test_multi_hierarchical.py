"""The LM-H neuron against its equations, written out by hand, in all its arithmetics."""

import math

import pytest
import torch
from torch import nn

from hmdf.train.errors import ModelError
from hmdf.train.fused import cpu
from hmdf.train.neurons import LeakyIntegrateAndFire, MultiHierarchical, detach, reset, set_online, set_step

T = 4
FACTORS = "dendrite_leak", "dendrite_feedback", "soma_leak", "soma_drive"


def neuron_of(radical: bool = False, seed: int = 0, **options) -> MultiHierarchical:
    neuron = MultiHierarchical(3, T, radical, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in neuron.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return neuron


def currents(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(T, *shape, generator=torch.Generator().manual_seed(seed)) * 1.5


def steps_of(neuron: nn.Module, x: torch.Tensor) -> torch.Tensor:
    reset(neuron)
    outputs = []
    for t, current in enumerate(x):
        set_step(neuron, t)
        outputs.append(neuron(current))
    return torch.stack(outputs)


def by_hand(x, factors, theta, v0, width):
    """Equations 4 and 7 for one neuron of every sample, in lists: spikes, and slopes of the surrogate."""
    d, v, spikes, slopes = 0.0, v0, [], []
    for t in range(T):
        mu_d, mu_s, lambda_s, lambda_d = (factors[name][t] for name in FACTORS)
        d = mu_d * d + mu_s * v + x[t]
        m = lambda_s * v + lambda_d * d
        s = 1.0 if m >= theta else 0.0
        v = m - s * theta
        spikes.append(s * theta)
        slopes.append(max(0.0, width - abs(m - theta)) / width**2)
    return spikes, slopes


@pytest.mark.parametrize("radical", [False, True])
def test_equations_4_and_7(radical):
    neuron = neuron_of(radical, threshold=0.75, initial_potential=0.25).double()
    x = currents(6).double()
    assert all(len(values) == (T if radical else 1) for values in neuron.parameters())
    factors = {}
    for name, low in zip(FACTORS, (-0.5, -0.5, 0.5, 0.5), strict=True):
        learned = neuron.get_parameter(f"{name}_logit").tolist()
        factors[name] = [1 / (1 + math.exp(-value)) + low for value in (learned if radical else learned * T)]
        assert torch.allclose(neuron.factors()[name], torch.tensor(factors[name], dtype=torch.float64), atol=1e-12)
    outputs = steps_of(neuron, x)
    assert 0 < outputs.count_nonzero() < outputs.numel()
    for n in range(6):
        spikes, _ = by_hand(x[:, n].tolist(), factors, 0.75, 0.25 * 0.75, 1.0)
        assert outputs[:, n].tolist() == spikes


def test_training_starts_as_integrate_and_fire():
    neuron = MultiHierarchical(1, T)
    assert [float(values[0]) for values in neuron.factors().values()] == [0.0, 0.0, 1.0, 1.0]
    x = torch.full((T, 1), 0.25)
    assert steps_of(neuron, x).flatten().tolist() == [0.0, 1.0, 0.0, 0.0]  # 0.5 at first, + 0.25 a step, threshold 1
    assert neuron.v.item() == 0.5
    assert neuron.threshold().tolist() == [1.0] * T


@pytest.mark.parametrize("width", [1.0, 2.5])
def test_gradients_of_equations_8_and_9(width):
    """d(sum of g_t s_t)/dI, /dx of every factor, by the chain rule written out with the two chain factors of eq. 9."""
    theta, g = 0.75, [1.0, -2.0, 0.5, 3.0]
    neuron = neuron_of(True, threshold=theta, width=width).double()
    set_online(neuron, False)
    x = (currents(5, seed=3).double() / 2).requires_grad_()
    (steps_of(neuron, x) * torch.tensor(g, dtype=torch.float64)[:, None]).sum().backward()
    factors = {name: values.tolist() for name, values in neuron.factors().items()}
    mu_d, mu_s, lambda_s, lambda_d = (factors[name] for name in FACTORS)
    expected = {name: [0.0] * T for name in FACTORS}
    for n in range(5):
        values = x[:, n].tolist()
        _, slopes = by_hand(values, factors, theta, theta / 2, width)
        d, v, before = 0.0, theta / 2, []
        for t in range(T):
            d_new = mu_d[t] * d + mu_s[t] * v + values[t]
            m = lambda_s[t] * v + lambda_d[t] * d_new
            before.append((d, v, d_new))
            d, v = d_new, m - (theta if m >= theta else 0.0)
        of_d = of_v = 0.0  # of the state that step t leaves
        for t in reversed(range(T)):
            of_m = g[t] * theta * slopes[t] + of_v  # dv/dm = 1
            of_new_d = of_d + lambda_d[t] * of_m
            assert math.isclose(x.grad[t, n], of_new_d, abs_tol=1e-12)
            d, v, d_new = before[t]
            for name, part in zip(FACTORS, (of_new_d * d, of_new_d * v, of_m * v, of_m * d_new), strict=True):
                expected[name][t] += part
            of_d, of_v = mu_d[t] * of_new_d, mu_s[t] * of_new_d + lambda_s[t] * of_m
    for name, low in zip(FACTORS, (-0.5, -0.5, 0.5, 0.5), strict=True):
        sigmoid = torch.tensor(factors[name], dtype=torch.float64) - low
        chained = torch.tensor(expected[name], dtype=torch.float64) * sigmoid * (1 - sigmoid)
        torch.testing.assert_close(neuron.get_parameter(f"{name}_logit").grad, chained, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("fused", [False, True])
def test_the_two_chain_factors_of_equation_9(fused):
    """Through two calls of the neuron, by its own graph: from a current to the state, from there to the next one."""
    neuron, x = neuron_of(True), torch.full((1, 3, 2, 2), 4.0).contiguous(memory_format=torch.channels_last)
    if not fused:
        neuron, x = neuron.double(), x.double()
    set_online(neuron, False)
    reset(neuron)
    x.requires_grad_()
    assert cpu.fits(x) == fused
    set_step(neuron, 1)
    assert neuron(x).all()  # each fires, and its reset has no gradient
    d, v = neuron.d, neuron.v
    set_step(neuron, 2)
    neuron(torch.zeros_like(x))
    mu_d, mu_s, lambda_s, lambda_d = (neuron.factors()[name].tolist() for name in FACTORS)

    def slope(of: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(of.sum(), by, retain_graph=True)[0].double()

    wanted = {
        "dv1/dI1: dv/dm = 1": (v, x, lambda_d[1]),
        "dd1/dI1": (d, x, 1.0),
        "dm2/dm1": (neuron.v, v, lambda_s[2] + lambda_d[2] * mu_s[2]),
        "dd2/dd1": (neuron.d, x, mu_d[2] + lambda_d[1] * mu_s[2]),
    }
    for name, (of, by, value) in wanted.items():
        torch.testing.assert_close(slope(of, by), torch.full_like(x, value).double(), rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("fused", [False, True])
def test_factors_that_are_not_learned_stay(fused):
    neuron = MultiHierarchical(3, T, learned=False)
    set_online(neuron, False)
    x = currents(2, 3, 2, 2)
    frames = [(f if fused else f.double()).contiguous(memory_format=torch.channels_last) for f in x]
    neuron = neuron if fused else neuron.double()
    first = frames[0].requires_grad_()
    steps_of(neuron, frames).sum().backward()
    assert first.grad.any()
    assert all(parameter.grad is None for parameter in neuron.parameters())


def test_lif_is_a_special_case():
    lif = LeakyIntegrateAndFire(3, T)
    with torch.no_grad():
        lif.leak_logit.fill_(0.8)
        lif.threshold_logit.fill_(0.4)
    theta = lif.threshold()[0].item()
    neuron = MultiHierarchical(3, T, threshold=theta, initial_potential=0.0)
    leak = lif.leak()[0].item()
    neuron.set_factors(dict(zip(FACTORS, (0.0, 0.0, leak, 1.0), strict=True)))
    x, y = currents(7, 3).requires_grad_(), currents(7, 3).requires_grad_()
    spikes, same = steps_of(lif, x), steps_of(neuron, y)
    assert torch.equal(same, spikes * neuron.spike.lsb)
    assert 0 < spikes.count_nonzero() < spikes.numel()
    (spikes * theta).sum().backward()
    same.sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_factors_reach_both_ends_and_no_further():
    neuron = MultiHierarchical(1, T)
    neuron.set_factors({"dendrite_leak": -0.5, "dendrite_feedback": 0.5, "soma_leak": 0.5, "soma_drive": 1.5})
    assert [values[0].item() for values in neuron.factors().values()] == [-0.5, 0.5, 0.5, 1.5]
    steps_of(neuron, currents(2, 1)).sum()
    with pytest.raises(ModelError, match=r"soma_leak must lie in 0\.5\.\.1\.5"):
        neuron.set_factors({"soma_leak": 0.4})


def gradients_of(neuron: nn.Module, x: torch.Tensor, folded: bool = False) -> dict[str, torch.Tensor]:
    """Spikes, state and gradients of a loss that weighs every spike differently."""
    neuron.zero_grad()
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    if folded:
        reset(neuron)
        set_step(neuron, None)
        spikes = neuron(x.flatten(0, 1)).unflatten(0, (T, -1))
    else:
        spikes = steps_of(neuron, x)
    weight = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(9))
    (spikes * weight).sum().backward()
    named = {name: parameter.grad for name, parameter in neuron.named_parameters()}
    return {"spikes": spikes.detach(), "x": x.grad, "d": neuron.d.detach(), "v": neuron.v.detach(), **named}


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("radical", [False, True])
def test_the_fused_arithmetic_is_that_of_the_operators(radical, online, monkeypatch):
    neuron = neuron_of(radical, threshold=0.75, width=1.5)
    set_online(neuron, online)
    frames = [part.contiguous(memory_format=torch.channels_last) for part in currents(5, 3, 40, 10)]
    results = []
    for fused in (True, False):
        if not fused:
            monkeypatch.setattr(cpu, "fits", lambda x: False)
        calls = []
        original = cpu.fire_hierarchical
        monkeypatch.setattr(cpu, "fire_hierarchical", lambda *a, o=original, c=calls: c.append(1) or o(*a))
        neuron.zero_grad()
        inputs = [frame.clone().requires_grad_() for frame in frames]
        spikes = steps_of(neuron, inputs)
        (spikes * torch.randn(spikes.shape, generator=torch.Generator().manual_seed(9))).sum().backward()
        assert len(calls) == (T if fused else 0)
        named = {name: parameter.grad for name, parameter in neuron.named_parameters()}
        grads = {f"x{t}": part.grad for t, part in enumerate(inputs)}
        results.append({"spikes": spikes.detach(), "d": neuron.d, "v": neuron.v, **grads, **named})
    for name, wanted in results[1].items():
        torch.testing.assert_close(results[0][name], wanted, rtol=1e-4, atol=1e-2 if "logit" in name else 1e-5)


def test_what_is_not_finite_stays_so_and_carries_no_messages():
    neuron = MultiHierarchical(1, T)
    x = torch.full((1, 1, 2, 2), 2.0).contiguous(memory_format=torch.channels_last)
    assert cpu.messages_of(neuron(x))[0].flatten().tolist() == [1, 1, 1, 1]
    x[0, 0, 0, 0] = float("nan")
    reset(neuron)
    assert cpu.messages_of(neuron(x)) is None
    assert neuron.v.isnan().sum() == 1


def test_all_steps_at_once_are_the_steps_one_by_one():
    neuron = neuron_of(True)
    set_online(neuron, False)
    x = currents(5, 3)
    one_by_one, at_once = gradients_of(neuron, x), gradients_of(neuron, x, folded=True)
    for name, wanted in one_by_one.items():
        torch.testing.assert_close(at_once[name], wanted)


def test_detach_cuts_the_gradient_and_keeps_the_state():
    neuron = neuron_of()
    set_online(neuron, False)
    x = currents(2, 3).requires_grad_()
    steps_of(neuron, x[:2])
    state = neuron.d.clone(), neuron.v.clone()
    detach(neuron)
    assert torch.equal(neuron.d, state[0])
    assert torch.equal(neuron.v, state[1])
    set_step(neuron, 2)
    neuron(x[2]).sum().backward()
    assert not x.grad[:2].any()
