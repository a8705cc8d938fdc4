from collections.abc import Callable

import pytest
import torch
from torch import nn

from hmdf.train.errors import ModelError
from hmdf.train.neurons import (
    GradedSpike,
    HybridFiring,
    LeakyIntegrateAndFire,
    MultiHierarchical,
    ParallelFiring,
    powers_of_two,
    reset,
    set_online,
    set_step,
)
from hmdf.train.step_norm import StepBatchNorm2d

T = 4


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def steps_of(neuron: nn.Module, currents: torch.Tensor) -> torch.Tensor:
    reset(neuron)
    outputs = []
    for t, current in enumerate(currents):
        set_step(neuron, t)
        outputs.append(neuron(current))
    return torch.stack(outputs)


def currents(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(T, *shape, generator=torch.Generator().manual_seed(seed)) * 2


def test_parameters_start_at_one_half():
    neuron = HybridFiring(3, T, mpbn=True)
    for values in (neuron.leak(), neuron.threshold(), neuron.alpha(), neuron.beta()):
        assert values.dtype == torch.float64
        assert torch.equal(values, torch.full((T,), 0.5, dtype=torch.float64))


def test_plain_neurons_report_no_mixture():
    neuron = ParallelFiring(3, T)
    assert torch.equal(neuron.alpha(), torch.ones(T, dtype=torch.float64))
    assert torch.equal(neuron.beta(), torch.zeros(T, dtype=torch.float64))
    assert len(neuron.norms) == 0


def test_hybrid_firing_follows_equation_3():
    neuron = randomise(HybridFiring(3, T, spike=GradedSpike(bits=None)))
    x = currents(2, 3, 4, 4)
    leak, theta = neuron.leak().float(), neuron.threshold().float()
    v = torch.zeros(2, 3, 4, 4)
    expected = []
    for t in range(T):
        m = leak[t] * v + x[t]
        s = (m - theta[t]).clamp(min=0)
        v = m - s
        expected.append(s)
    assert torch.allclose(steps_of(neuron, x), torch.stack(expected), atol=1e-6)
    assert torch.allclose(neuron.v, v, atol=1e-6)


@pytest.mark.parametrize("bits", [None, 2])
def test_reset_leaves_the_membrane_at_exactly_theta(bits):
    neuron = randomise(HybridFiring(3, T, spike=GradedSpike(bits=bits)))
    x = currents(5, 3)
    reset(neuron)
    for t in range(T):
        set_step(neuron, t)
        before = neuron.v
        neuron(x[t])
        theta = neuron.threshold_logit[t].sigmoid()
        m = x[t] if before is None else neuron.leak_logit[t].sigmoid() * before + x[t]
        fired = m > theta
        assert fired.any()
        assert not fired.all()
        assert (neuron.v[fired] == theta).all()
        assert torch.equal(neuron.v[~fired], m[~fired])


@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 2, 2)])
def test_mpbn_keeps_statistics_per_step(shape):
    neuron = randomise(HybridFiring(3, T, mpbn=True, spike=GradedSpike(bits=None)))
    x = currents(*shape)
    outputs = steps_of(neuron, x)
    axes = [0, *range(2, len(shape))]
    wide = [1, 3] + [1] * (len(shape) - 2)
    v = torch.zeros(shape)
    for t, norm in enumerate(neuron.norms):
        m = neuron.leak()[t].float() * v + x[t]
        mean, variance = m.mean(axes), m.var(axes, unbiased=False)
        normal = (m - mean.view(wide)) / (variance.view(wide) + norm.eps).sqrt()
        mixed = neuron.alpha()[t].float() * m + neuron.beta()[t].float() * (
            normal * norm.weight.view(wide) + norm.bias.view(wide)
        )
        s = (mixed - neuron.threshold()[t].float()).clamp(min=0)
        v = mixed - s
        assert torch.allclose(outputs[t], s, atol=1e-5)
        assert torch.allclose(norm.running_mean, 0.1 * mean, atol=1e-6)
        assert torch.allclose(norm.running_var, 0.9 + 0.1 * m.var(axes, unbiased=True), atol=1e-5)


@pytest.mark.parametrize("kind", [HybridFiring, ParallelFiring])
def test_alpha_one_beta_zero_is_the_plain_neuron(kind):
    plain = randomise(kind(3, T))
    mixed = kind(3, T, mpbn=True)
    mixed.load_state_dict(plain.state_dict(), strict=False)
    mixed.set_mixture(alpha=1.0, beta=0.0)
    x = currents(6, 3, 2, 2)
    assert torch.equal(steps_of(mixed, x), steps_of(plain, x))
    steps_of(mixed, x).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in mixed.parameters() if parameter.grad is not None)
    assert mixed.alpha()[0] == 1.0
    assert mixed.beta()[0] == 0.0
    with pytest.raises(ModelError, match=r"0\.\.1"):
        mixed.set_mixture(alpha=1.5, beta=0.0)


@pytest.mark.parametrize("mpbn", [False, True])
@pytest.mark.parametrize("shape", [(3,), (3, 2, 2)])
def test_parallel_steps_folded_into_the_batch(mpbn, shape):
    neuron = randomise(ParallelFiring(3, T, mpbn=mpbn)).eval()
    x = currents(5, *shape)
    one_by_one = steps_of(neuron, x)
    set_step(neuron, None)
    assert torch.equal(neuron(x.flatten(0, 1)).unflatten(0, (T, 5)), one_by_one)


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("kind", [HybridFiring, LeakyIntegrateAndFire])
def test_a_membrane_goes_through_the_folded_steps(kind, online):
    neuron = randomise(kind(3, T, mpbn=True))
    set_online(neuron, online)
    found = []
    for folded in (False, True):
        neuron.zero_grad()
        x = currents(5, 3).requires_grad_()
        reset(neuron)
        if folded:
            set_step(neuron, None)
        spikes = neuron(x.flatten(0, 1)).unflatten(0, (T, 5)) if folded else steps_of(neuron, x)
        (spikes * torch.arange(15.0).view(5, 3)).sum().backward()
        found.append([spikes, x.grad, neuron.v, *(p.grad for p in neuron.parameters())])
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*found, strict=True))


def test_step_out_of_range_is_refused():
    with pytest.raises(ModelError, match=r"0\.\.3"):
        set_step(HybridFiring(3, T), 4)


def test_lif_soft_reset_and_triangle_surrogate():
    neuron = randomise(LeakyIntegrateAndFire(3, T))
    x = currents(4, 3).requires_grad_()
    leak, theta = neuron.leak().float(), neuron.threshold().float()
    outputs = steps_of(neuron, x)
    v = torch.zeros(4, 3)
    for t in range(T):
        m = leak[t] * v + x[t].detach()
        s = (m >= theta[t]).float()
        assert torch.equal(outputs[t], s)
        (slope,) = torch.autograd.grad(outputs[t].sum(), x, retain_graph=True)
        assert torch.allclose(slope[t], (1 - (m - theta[t]).abs()).clamp(min=0), atol=1e-6)
        v = m - s * theta[t]


def test_graded_spike_values_and_straight_through_gradient():
    s = torch.tensor([0.0, 0.1, 0.13, 0.4, 3.7, 9.0], requires_grad=True)
    q = GradedSpike(bits=4, lsb=0.25)(s)
    assert q.tolist() == [0.0, 0.0, 0.25, 0.5, 3.75, 3.75]
    (q * torch.arange(6.0)).sum().backward()
    assert s.grad.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_clipped_spike_has_no_gradient_above_the_largest_message():
    s = torch.tensor([0.0, 0.13, 3.75, 3.8, 9.0], requires_grad=True)
    q = GradedSpike(bits=4, lsb=0.25, activation="clipped")(s)
    assert q.tolist() == [0.0, 0.25, 3.75, 3.75, 3.75]
    q.sum().backward()
    assert s.grad.tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("learn_lsb", [False, True])
def test_spikes_rounded_to_powers_of_two(learn_lsb):
    assert powers_of_two(4) == [0, 1, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]
    s = (0.25 * torch.arange(16.0)).requires_grad_()
    spike = GradedSpike(bits=4, lsb=0.25, learn_lsb=learn_lsb, activation="power-of-two")
    q = spike(s)
    assert (q / 0.25).tolist() == powers_of_two(4)
    (q * torch.arange(16.0)).sum().backward()
    assert s.grad.tolist() == list(range(16))


@pytest.mark.parametrize(("bits", "activation"), [(None, "clipped"), (1, "power-of-two"), (8, "power-of-two")])
def test_an_activation_that_has_no_meaning_is_refused(bits, activation):
    with pytest.raises(ModelError, match="spikes that are"):
        GradedSpike(bits, activation=activation)


def test_learned_lsb_gradient():
    spike = GradedSpike(bits=2, lsb=0.5, learn_lsb=True)
    assert spike.lsb_value() == 0.5
    s = torch.tensor([0.2, 0.6, 1.4, 7.0], requires_grad=True)
    spike(s).sum().backward()
    assert s.grad.tolist() == [1, 1, 1, 0]
    ratio = torch.tensor([0.4, 1.2, 2.8])
    slope = (ratio.round() - ratio).sum() + 3
    to_log2 = 0.5 * torch.tensor(2.0).log()
    assert torch.allclose(spike.log2_lsb.grad, slope / (4 * 3) ** 0.5 * to_log2)


@pytest.mark.parametrize(("bits", "lsb"), [(0, 0.25), (9, 0.25), (4, 0.0), (4, float("inf"))])
def test_invalid_spike_format_is_refused(bits, lsb):
    with pytest.raises(ModelError):
        GradedSpike(bits, lsb)


class TwoLayers(nn.Module):
    """Linear -> neuron -> Linear -> neuron -> Linear, in float64."""

    def __init__(self) -> None:
        super().__init__()
        spike = GradedSpike(bits=None)
        self.first, self.second, self.third = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 5)
        self.act1, self.act2 = HybridFiring(8, T, spike=spike), HybridFiring(8, T, spike=spike)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.act2(self.second(self.act1(self.first(x)))))


def weight_gradients(model: TwoLayers, frames: torch.Tensor, online: bool) -> dict[str, torch.Tensor]:
    set_online(model, online)
    labels = torch.arange(frames.shape[1]) % 5
    model.zero_grad()
    loss = sum(nn.functional.cross_entropy(logits, labels) for logits in steps_of(model, frames))
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if name.endswith(("weight", "bias"))}


def firing(model: TwoLayers, frames: torch.Tensor) -> torch.Tensor:
    """Whether each neuron of both layers fires: (T, 2, N, 8)."""
    fired: list[torch.Tensor] = []
    handles = [act.register_forward_hook(lambda _m, _i, out: fired.append(out > 0)) for act in (model.act1, model.act2)]
    steps_of(model, frames)
    for handle in handles:
        handle.remove()
    return torch.stack(fired).unflatten(0, (T, 2))


def two_layers_with_biases(first: torch.Tensor, second: torch.Tensor) -> TwoLayers:
    model = randomise(TwoLayers())
    with torch.no_grad():
        model.first.weight.mul_(0.1)
        model.second.weight.mul_(0.01)
        model.first.bias.copy_(first)
        model.second.bias.copy_(second)
    return model


FRAMES = currents(7, 6).double() / 4
ABOVE, BELOW = 9.0, -9.0


def test_online_gradient_equals_stbp_when_all_neurons_fire():
    """Theorem 4.2, upper region: v is theta, a constant for the current, so no gradient crosses time-steps."""
    model = two_layers_with_biases(torch.full((8,), ABOVE), torch.full((8,), ABOVE))
    assert firing(model, FRAMES).all()
    online, full = (weight_gradients(model, FRAMES, online) for online in (True, False))
    for name, gradient in full.items():
        assert gradient.abs().max() > 0, name
        assert torch.equal(online[name], gradient), name


def test_online_gradient_equals_stbp_when_neurons_stay_in_their_region():
    """Theorem 4.2, lower region: a neuron that never fires passes no gradient at all, over space or over time."""
    half = torch.tensor([ABOVE, BELOW]).repeat(4)
    model = two_layers_with_biases(half, -half)
    fired = firing(model, FRAMES)
    assert torch.equal(fired.all(0), fired.any(0))
    assert fired.any()
    assert not fired.all()
    online, full = (weight_gradients(model, FRAMES, online) for online in (True, False))
    for name, gradient in full.items():
        assert gradient.abs().max() > 0, name
        assert torch.equal(online[name], gradient), name
    assert (full["first.weight"][1::2] == 0).all()


def test_online_gradient_differs_when_a_silent_neuron_fires_later():
    """Outside the theorem's cases the gradient through the membrane is not zero, so the tests above can fail."""
    model = two_layers_with_biases(torch.full((8,), 0.3), torch.full((8,), 0.3))
    online, full = (weight_gradients(model, FRAMES, online) for online in (True, False))
    assert not torch.allclose(online["first.weight"], full["first.weight"])


def across_steps(neuron: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Through time: whether each neuron fires, (T, N, C); the gradient of each step's spikes at each step's current,
    its largest size over the samples, (T of the spikes, T of the currents, C).
    """
    set_online(neuron, False)
    x.requires_grad_()
    spikes = steps_of(neuron, x)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    gradients = [
        torch.autograd.grad((s * w).sum(), x, retain_graph=True)[0] for s, w in zip(spikes, weights, strict=True)
    ]
    return spikes > 0, torch.stack(gradients).abs().amax(2)


def test_mpbn_in_its_steady_regions_passes_no_gradient_across_time_steps():
    """Corollary 4.3: with MPBN too, where alpha m + beta BN(m) is above theta at every step, or below it at every step.
    A neuron that goes from one region to the other shows that the gradients are there to be measured.
    """
    above, below, mixed = 0, 1, 2
    neuron = randomise(HybridFiring(3, T, mpbn=True, spike=GradedSpike(bits=None))).double()
    x = currents(8, 3).double() + torch.tensor([50.0, -50.0, 0.0])
    fired, gradients = across_steps(neuron, x)
    assert fired[..., above].all()
    assert not fired[..., below].any()
    assert 0 < fired[..., mixed].double().mean() < 1
    earlier = gradients[torch.tril_indices(T, T, -1).unbind()]
    assert (earlier[:, [above, below]] == 0).all()
    assert earlier[:, mixed].max() > 0.01
    assert (gradients.diagonal()[above] > 0.1).all()


@pytest.mark.parametrize(
    "made",
    [
        lambda t: HybridFiring(3, t, mpbn=True),
        lambda t: ParallelFiring(3, t),
        lambda t: LeakyIntegrateAndFire(3, t),
        lambda t: MultiHierarchical(3, t),
        lambda t: MultiHierarchical(3, t, radical=True),
        lambda t: StepBatchNorm2d(3, t),
    ],
)
def test_parameters_that_agree_at_all_steps_go_on(made: Callable[[int], nn.Module]):
    short, long = made(2).eval(), made(T).eval()
    short.extend(1)  # fewer steps are there already
    assert short.time_steps == 2
    short.extend(T)
    x = currents(2, 3, 4, 4)
    with torch.no_grad():
        assert torch.equal(steps_of(short, x), steps_of(long, x))


def test_parameters_that_change_do_not():
    neuron, norm = MultiHierarchical(3, 2, radical=True), StepBatchNorm2d(3, 2)
    with torch.no_grad():
        neuron.soma_leak_logit[1] = 1e-6
        norm.norms[1].running_mean[0] = 1
    with pytest.raises(ModelError, match="soma_leak_logit changes from step to step, and there are 2"):
        neuron.extend(3)
    with pytest.raises(ModelError, match="norms change from step to step, and there are 2"):
        norm.extend(3)
