import numpy as np
import pytest
import torch
from torch.nn import functional

from hmdf.train.errors import ModelError
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.neurons import detach, reset, set_online, set_step
from hmdf.train.online import (
    backward_every,
    backward_random,
    backward_slices,
    backward_stbp,
    find_divergence,
    loss_of_mean,
    run,
    run_folded,
)

T = 3
X = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 4, 5])


def small(**options):
    torch.manual_seed(1)
    return build(NetworkSpec("small", (1, 8, 8), 10, time_steps=T, width=8, **options))


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def loss_at(model, step: int) -> torch.Tensor:
    """The loss of one step, its graph made by the plain sequential run with detached membranes."""
    set_online(model, True)
    return functional.cross_entropy(run(model, X, T)[step], LABELS)


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-6, rtol=1e-4), name


def backward(loss: torch.Tensor) -> None:
    loss.backward()


@pytest.mark.parametrize("options", [{}, {"neuron": "plain", "parallel": "second"}, {"neuron": "parallel"}])
@pytest.mark.parametrize("drawn", range(T))
def test_random_backprop_is_the_gradient_of_the_drawn_step_alone(options, drawn):
    model = small(**options)
    loss, _ = backward_random(model, X, LABELS, drawn, functional.cross_entropy, backward)
    found = gradients(model)
    model.zero_grad()
    expected = loss_at(model, drawn)
    expected.backward()
    assert torch.allclose(loss, expected.detach())
    assert_same(found, gradients(model))


def test_every_step_is_the_mean_of_the_steps():
    model = small()
    loss, logits = backward_every(model, X, LABELS, T, functional.cross_entropy, backward)
    found = gradients(model)
    model.zero_grad()
    expected = torch.stack([loss_at(model, t) for t in range(T)]).mean()
    expected.backward()
    assert torch.allclose(loss, expected.detach())
    assert torch.allclose(logits, run(model, X, T).sum(0).detach(), atol=1e-5)
    assert_same(found, gradients(model))


def test_stbp_differentiates_through_the_membranes():
    model = small()
    backward_stbp(model, X, LABELS, T, functional.cross_entropy, backward)
    full = gradients(model)
    model.zero_grad()
    backward_every(model, X, LABELS, T, functional.cross_entropy, backward)
    online = gradients(model)
    assert not torch.allclose(full["block.layer1.conv.weight"], online["block.layer1.conv.weight"])
    model.zero_grad()
    set_online(model, False)
    logits = run(model, X, T)
    functional.cross_entropy(logits.flatten(0, 1), LABELS.repeat(T)).backward()
    assert_same(full, gradients(model))


def test_the_loss_of_the_mean_has_one_softmax_for_all_steps():
    """d CE(mean_t z_t) / d z_t = (softmax(mean) - onehot) / (T N), the same at every step."""
    network = build(NetworkSpec("small", (1, 8, 8), 10, width=4, time_steps=3))
    x, labels = torch.rand(6, 1, 8, 8), torch.arange(6)
    seen = []
    network.classifier.register_full_backward_hook(lambda module, inputs, outputs: seen.append(outputs[0]))
    loss, total = backward_stbp(network, x, labels, 3, functional.cross_entropy, torch.Tensor.backward, loss_of_mean)
    wanted = ((total / 3).softmax(1) - functional.one_hot(labels, 10)) / (3 * 6)
    assert len(seen) == 3
    assert all(torch.allclose(gradient, wanted, atol=1e-7) for gradient in seen)
    assert torch.isclose(loss, functional.cross_entropy(total / 3, labels))


def in_slices(model, length: int) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor, torch.Tensor]:
    """The gradients of each slice, with the weights left as they are."""
    found = []

    def update(loss: torch.Tensor) -> None:
        model.zero_grad()
        loss.backward()
        found.append(gradients(model))

    loss, logits = backward_slices(model, X, LABELS, T, length, functional.cross_entropy, update)
    return found, loss, logits


NEURONS = [{"neuron": "plain"}, {"neuron": "lif"}, {"neuron": "lm-h"}]


@pytest.mark.parametrize("options", NEURONS)
def test_one_slice_of_all_steps_is_stbp(options):
    model = small(**options)
    (found,), loss, logits = in_slices(model, T)
    model.zero_grad()
    wanted = backward_stbp(model, X, LABELS, T, functional.cross_entropy, backward)
    assert_same(found, gradients(model))
    assert torch.allclose(loss, wanted[0])
    assert torch.allclose(logits, wanted[1], atol=1e-5)


@pytest.mark.parametrize("options", NEURONS)
def test_slices_of_one_step_are_online_learning(options):
    model = small(**options)
    found, loss, logits = in_slices(model, 1)
    assert len(found) == T
    model.zero_grad()
    wanted = backward_every(model, X, LABELS, T, functional.cross_entropy, backward)
    every = gradients(model)
    zero = {name: torch.zeros_like(gradient) for name, gradient in every.items()}
    assert_same({name: sum((zero | of)[name] for of in found) / T for name in every}, every)
    assert torch.allclose(loss, wanted[0])
    assert torch.allclose(logits, wanted[1], atol=1e-5)


def test_a_slice_is_differentiated_through_its_own_steps_alone():
    """The second of two slices: its gradient is that of a run whose state is detached once, before step 2."""
    model = small(neuron="lm-h")
    (_, found), _, _ = in_slices(model, 2)
    set_online(model, False)
    reset(model)
    for step in range(T):
        if step == 2:
            detach(model)
        set_step(model, step)
        logits = model(X)
    model.zero_grad()
    functional.cross_entropy(logits, LABELS).backward()
    assert_same(found, gradients(model))


def test_time_and_batch_are_normalised_together():
    """tdBN: statistics over T N samples; its gain starts at the threshold, divided by sqrt(2) in front of a sum."""
    model = small(neuron="lm-h", threshold=0.5, norm="time")
    assert torch.equal(model.block.layer1.norm.weight.detach(), torch.full((8,), 0.5))
    assert torch.allclose(model.block.layer2.norm.weight.detach(), torch.tensor(0.5 / 2**0.5))
    seen = []
    model.block.layer1.conv.register_forward_hook(lambda _m, _i, output: seen.append(output.detach()))
    backward_stbp(model, X, LABELS, T, functional.cross_entropy, backward, runner=run_folded)
    (current,) = seen
    assert len(current) == T * len(X)
    assert torch.allclose(model.block.layer1.norm.running_mean, 0.1 * current.mean((0, 2, 3)), atol=1e-6)


def test_each_step_has_its_own_statistics():
    model = small(neuron="lm-h", norm="each")
    norm, seen = model.block.layer1.norm, []
    model.block.layer1.conv.register_forward_hook(lambda _m, _i, output: seen.append(output.detach()))
    backward_stbp(model, X, LABELS, T, functional.cross_entropy, backward)
    for of_step, current in zip(norm.norms, seen, strict=True):
        assert torch.allclose(of_step.running_mean, 0.1 * current.mean((0, 2, 3)), atol=1e-6)
    assert not torch.allclose(norm.norms[0].running_mean, norm.norms[1].running_mean)
    assert len({id(of_step.weight) for of_step in norm.norms}) == 1
    assert norm.norms[0].weight.grad is not None


def test_random_backprop_statistics():
    """A step's own norms learn whenever the step runs; the shared norms see the drawn step's current alone."""
    model = small()
    seen = []
    model.block.layer1.conv.register_forward_hook(lambda _m, _i, output: seen.append(output.detach()))
    backward_random(model, X, LABELS, 1, functional.cross_entropy, backward)
    assert len(seen) == 2
    assert torch.allclose(model.block.layer1.norm.running_mean, 0.1 * seen[1].mean((0, 2, 3)), atol=1e-6)
    changed = [bool(norm.running_mean.any()) for norm in model.block.act1.norms]
    assert changed == [True, True, False]


def test_random_backprop_runs_one_step_without_membranes():
    model = small(neuron="parallel")
    calls = []
    model.stem.register_forward_hook(lambda *_: calls.append(1))
    backward_random(model, X, LABELS, 2, functional.cross_entropy, backward)
    assert len(calls) == 1


def test_samples_do_not_influence_the_next_batch():
    model = small().eval()
    first = run(model, X, T)
    run(model, X * 3, T)
    assert torch.equal(run(model, X, T), first)


def test_frames_are_shown_one_per_step():
    model = small().eval()
    frames = torch.stack([X, 2 * X, -X], dim=1)
    logits = run(model, frames, T)
    reset(model)
    for step in range(T):
        set_step(model, step)
        assert torch.equal(model(frames[:, step]), logits[step])
    with pytest.raises(ModelError, match="2 of the input"):
        run(model, frames[:, :2], T)


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"parallel": "all"}, {"parallel": "second"}, {"neuron": "lif"}, {"neuron": "lm-h"}, {"norm": "each"}],
)
def test_folded_equals_sequential(options, frames):
    model = small(**{"neuron": "mpbn", "seca": "I", **options}).eval()
    x = torch.stack([X, 2 * X, -X], dim=1) if frames else X
    assert torch.allclose(run_folded(model, x, T), run(model, x, T), atol=1e-6)


def test_divergence_names_step_and_layer():
    model = small(parallel="none")
    with torch.no_grad():
        model.block.act2.norms[1].weight[3] = np.inf
    message = str(find_divergence(model, X, T))
    assert "block.act2" in message
    assert "time-step 1" in message
