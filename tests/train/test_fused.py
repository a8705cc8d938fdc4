"""What `fused.cpu` computes against the same in PyTorch's operators."""

import contextlib

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from hmdf.train.distributed import JointBatchNorm2d, join_batch_norms
from hmdf.train.fused import cpu
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.neurons import (
    GradedSpike,
    HybridFiring,
    LeakyIntegrateAndFire,
    MembraneNeuron,
    MultiHierarchical,
    Neuron,
    ParallelFiring,
    reset,
    set_step,
)
from hmdf.train.online import backward_every, backward_random, backward_stbp, run
from hmdf.train.synapses import BinaryConv2d, TernaryConv2d

SHAPES = st.sampled_from([(4, 16, 8, 8), (3, 5, 17, 18), (2, 64, 7, 5), (9, 3, 20, 9)])
BITS = st.sampled_from([None, 1, 2, 4, 8])
SPEC = NetworkSpec("resnet18", (3, 16, 16), 10, time_steps=3, width=8, neuron="plain", parallel="second")
LSB = st.sampled_from([0.25, 0.5, 0.125])


@pytest.fixture(autouse=True, scope="module")
def threads():
    """Two, so that the loops are divided between them, also where a worker of pytest-xdist has one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def images(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 1.5
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


@contextlib.contextmanager
def operators_only():
    """Within the block nothing is fused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "fits", lambda x: False)
        yield


def gradients(module: nn.Module, *tensors: torch.Tensor) -> list[torch.Tensor | None]:
    return [None if t.grad is None else t.grad.clone() for t in (*module.parameters(), *tensors)]


def assert_alike(found, expected, tolerance=1e-4):
    """Equal up to the rounding of sums, relative to the largest value, or to 1 where terms of about 1 cancel."""
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert (a - b).abs().max() <= tolerance * (b.abs().max() + 1)


def two_steps(neuron: Neuron, inputs: list[torch.Tensor], call) -> tuple[list[torch.Tensor], list[torch.Tensor | None]]:
    """Spikes of both steps and the membrane; the gradient of a weighted sum is left in ``neuron`` and ``inputs``."""
    neuron.zero_grad()
    reset(neuron)
    results = []
    for step, x in enumerate(inputs):
        x.grad = None
        set_step(neuron, step)
        spikes = call(x)
        weights = torch.linspace(-1, 1, spikes.numel()).view_as(spikes).bfloat16().to(spikes.dtype)
        (spikes * weights).sum().backward()
        results.append(spikes.detach())
    if isinstance(neuron, MembraneNeuron):
        assert neuron.v is not None
        results.append(neuron.v)
    return results, gradients(neuron, *inputs)


def make_neuron(kind: str, channels: int, bits: int | None, lsb: float) -> Neuron:
    if kind == "lif":
        neuron: Neuron = LeakyIntegrateAndFire(channels, 2)
    else:
        make = HybridFiring if kind == "hybrid" else ParallelFiring
        neuron = make(channels, 2, spike=GradedSpike(bits, lsb))
    with torch.no_grad():
        for parameter in neuron.parameters():
            parameter.copy_(torch.tensor([0.3, -0.6]))
    return neuron


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["hybrid", "parallel", "lif"]), SHAPES, BITS, LSB, st.integers(0, 1000))
def test_neurons(kind, shape, bits, lsb, seed):
    neuron = make_neuron(kind, shape[1], bits, lsb)
    inputs = [images(shape, seed), images(shape, seed + 1)]
    assert all(cpu.fits(x) for x in inputs)
    found = two_steps(neuron, inputs, neuron)
    with operators_only():
        expected = two_steps(neuron, inputs, neuron)
    assert_alike(found[0], expected[0], 1e-6)
    assert_alike(found[1], expected[1])


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["hybrid", "lif"]), st.booleans(), SHAPES, BITS, LSB, st.integers(0, 1000))
def test_neurons_through_time(kind, norm, shape, bits, lsb, seed):
    """The gradient of both steps' spikes and of the last membrane at once, not detached between them."""
    inputs = [images(shape, seed), images(shape, seed + 1)]
    outcomes = []
    for context in (contextlib.nullcontext(), operators_only()):
        neuron, norms = make_neuron(kind, shape[1], bits, lsb), JointBatchNorm2d(shape[1])
        neuron.detach_state = False
        reset(neuron)
        with context:
            results = []
            for step, x in enumerate(inputs):
                x.grad = None
                set_step(neuron, step)
                results.append(neuron.after(norms, x) if norm else neuron(x))
            assert isinstance(neuron, MembraneNeuron)
            assert neuron.v is not None
            results.append(neuron.v)
            weighted = [(r * torch.linspace(-1, 1, r.numel()).view_as(r)).sum() for r in results]
            torch.stack(weighted).sum().backward()
        outcomes.append(([r.detach() for r in results], gradients(nn.ModuleList([neuron, norms]), *inputs)))
    (found, found_grads), (expected, expected_grads) = outcomes
    # a current that rounding carries over the threshold, or to another message, has another gradient
    assume(all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True)))
    assert_alike(found_grads, expected_grads, 1e-3)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["hybrid", "parallel", "lif", "lm-h"]), SHAPES, BITS, LSB, st.integers(0, 1000))
def test_neurons_of_bfloat16_round_what_they_write_and_nothing_else(kind, shape, bits, lsb, seed):
    """Of the same currents and gradients, both representable in bfloat16: spikes and gradients of 32 bits, rounded."""
    neuron = MultiHierarchical(shape[1], 2) if kind == "lm-h" else make_neuron(kind, shape[1], bits, lsb)
    inputs = [images(shape, seed + step).detach().bfloat16() for step in range(2)]
    outcomes = []
    for dtype in torch.bfloat16, torch.float32:
        currents = [x.detach().to(dtype).requires_grad_() for x in inputs]
        assert all(cpu.fits(x) for x in currents)
        outcomes.append(two_steps(neuron, currents, neuron))
    (found, found_grads), (expected, expected_grads) = outcomes
    for a, b in zip(found[:2], expected[:2], strict=True):
        assert a.dtype == torch.bfloat16
        assert torch.equal(a, b.bfloat16())
    if len(found) > 2:
        assert torch.equal(found[2], expected[2])  # the membrane has 32 bits
    for a, b in zip(found_grads[-2:], expected_grads[-2:], strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b.bfloat16())
    assert_alike(found_grads[:-2], expected_grads[:-2], 2**-6)  # sums of what was rounded


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["hybrid", "parallel"]), SHAPES, BITS, st.integers(0, 1000))
def test_neurons_after_a_batch_norm(kind, shape, bits, seed):
    inputs = [images(shape, seed), images(shape, seed + 1)]
    outcomes = []
    for context in (contextlib.nullcontext(), operators_only()):
        neuron, norm = make_neuron(kind, shape[1], bits, 0.25), JointBatchNorm2d(shape[1])
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, -1.5, shape[1]))
            norm.bias.copy_(torch.linspace(-0.5, 1.0, shape[1]))
        pair = nn.ModuleList([norm, neuron])
        with context:
            results, grads = two_steps(neuron, inputs, lambda x, n=norm, s=neuron: s.after(n, x))
        outcomes.append((results, grads, gradients(pair), [norm.running_mean, norm.running_var]))
    found, expected = outcomes
    # rounding may carry a current over the threshold or from one message to the next, in a few places
    for a, b in zip(found[0], expected[0], strict=True):
        assert ((a - b).abs() > 1e-5).float().mean() < 1e-3
    assert_alike(found[3], expected[3])
    if bits is None:
        # a current that rounding carries over the threshold has another gradient
        assume(all(((a > 0) == (b > 0)).all() for a, b in zip(found[0][:2], expected[0][:2], strict=True)))
        assert_alike(found[1], expected[1], 1e-3)
        assert_alike(found[2], expected[2], 1e-3)


@settings(max_examples=20, deadline=None)
@given(SHAPES, st.floats(-100, 100), st.integers(0, 1000))
def test_batch_norm(shape, mean, seed):
    x = (images(shape, seed) + mean).detach().requires_grad_()
    outcomes = []
    for norm in (JointBatchNorm2d(shape[1]), nn.BatchNorm2d(shape[1])):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, -1.5, shape[1]))
        x.grad = None
        y = norm(x)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        outcomes.append([y.detach(), *gradients(norm, x), norm.running_mean, norm.running_var])
        assert norm.num_batches_tracked == 1
    # sums of 32-bit floats around a mean lose as many digits as the mean is larger than the deviations
    assert_alike(*outcomes, tolerance=1e-3 * max(1, abs(mean) / 20))


@settings(max_examples=20, deadline=None)
@given(SHAPES, st.integers(0, 1000))
def test_batch_norm_of_bfloat16(shape, seed):
    """As of 32 bits, but for the last place of bfloat16."""
    outcomes = []
    for dtype in torch.bfloat16, torch.float32:
        norm, x = JointBatchNorm2d(shape[1]), images(shape, seed).detach().bfloat16().to(dtype).requires_grad_()
        assert norm.fuses(x)
        y = norm(x)
        assert y.dtype == dtype
        (y * torch.linspace(-1, 1, y.numel()).view_as(y).bfloat16().to(dtype)).sum().backward()
        results = [y.detach(), *gradients(norm, x), norm.running_mean, norm.running_var]
        outcomes.append([None if t is None else t.float() for t in results])
    assert_alike(*outcomes, tolerance=2**-8)
    assert torch.equal(outcomes[0][0], outcomes[1][0].bfloat16().float())


@pytest.mark.parametrize("neuron", ["plain", "mpbn"])
def test_a_training_step_in_bfloat16(neuron):
    """The gradient points where that of 32 bits does, if no quantiser makes a step of what is rounded."""
    spec = NetworkSpec(**{**SPEC.to_dict(), "neuron": neuron, "spike_bits": None})
    x = torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    outcomes = []
    for mixed in True, False:
        torch.manual_seed(0)
        model = build(spec).to(memory_format=torch.channels_last)
        join_batch_norms(model)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            image = x.contiguous(memory_format=torch.channels_last)
            labels = torch.arange(32) % 10
            backward_every(model, image, labels, 3, functional.cross_entropy, torch.Tensor.backward)
        outcomes.append(torch.cat([p.grad.flatten() for n, p in model.named_parameters() if n.endswith("weight")]))
    assert functional.cosine_similarity(*outcomes, dim=0) > 0.95


@pytest.mark.parametrize("change", [{}, {"neuron": "mpbn"}, {"name": "vgg13"}])
def test_inference(change):
    torch.manual_seed(0)
    spec = NetworkSpec(**{**SPEC.to_dict(), **change, "spike_bits": None})
    model = build(spec).to(memory_format=torch.channels_last)
    join_batch_norms(model)
    x = torch.randn(8, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    run(model, x, 3)  # statistics of its own
    model.eval()
    with torch.no_grad():
        found = run(model, x, 3)
        with operators_only():
            expected = run(model, x, 3)
    assert_alike([found], [expected], 1e-4)


@pytest.mark.parametrize("kind", [TernaryConv2d, BinaryConv2d])
@pytest.mark.parametrize("geometry", [(3, 1, 1), (3, 2, 1), (1, 1, 0), (1, 2, 0), (3, 1, 0), ((3, 1), 1, (1, 0))])
@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_convolutions_are_exact(kind, geometry, bits, dtype):
    torch.manual_seed(0)
    conv = kind(20, 12, *geometry)
    neuron = make_neuron("parallel", 20, bits, 0.25)
    spikes = neuron(images((3, 20, 9, 11), 1).detach().to(dtype))
    carried = cpu.messages_of(spikes)
    assert carried is not None
    messages, lsb = carried
    assert torch.equal(messages * torch.tensor(lsb), spikes)
    integer, scale = conv.quantized()
    sums = functional.conv2d(messages.double(), integer.double(), None, conv.stride, conv.padding)
    found = conv(spikes)
    if dtype == torch.bfloat16:
        assert torch.allclose(found.double(), sums * lsb * scale.view(-1, 1, 1), rtol=2**-8, atol=0)
        return
    assert torch.equal(found, (sums * lsb * scale.view(-1, 1, 1)).float()) or torch.allclose(
        found.double(), sums * lsb * scale.view(-1, 1, 1), rtol=3e-7, atol=0
    )
    assert ((found / (lsb * scale.view(-1, 1, 1))).round() == sums).all()


@pytest.mark.parametrize("kind", [TernaryConv2d, BinaryConv2d])
def test_gradients_of_convolutions(kind):
    torch.manual_seed(0)
    conv = kind(20, 12, 3, padding=1)
    neuron = make_neuron("parallel", 20, 4, 0.25)
    x = images((3, 20, 9, 11), 1)
    outcomes = []
    for context in (contextlib.nullcontext(), operators_only()):
        conv.zero_grad()
        x.grad = None
        with context:
            conv(neuron(x)).square().sum().backward()
        outcomes.append(gradients(conv, x))
    assert_alike(*outcomes)


CHANGES: list[dict[str, object]] = [
    {},
    {"neuron": "mpbn"},
    {"neuron": "lif", "parallel": "none"},
    {"seca": "II"},
    {"spike_bits": None},
    {"name": "vgg13"},
    {"name": "small"},
    {"weights": "binary", "parallel": "all"},
]


@pytest.mark.parametrize(
    ("change", "backprop"),
    [(change, backprop) for change in CHANGES for backprop in ("every", "random")]
    + [(change, "stbp") for change in CHANGES[:3]],
)
def test_a_training_step_of_a_network(change, backprop):
    """In double precision there are no fused functions: what the network computes then is the truth."""
    spec = NetworkSpec(**{**SPEC.to_dict(), **change})
    x = torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(1)).contiguous(
        memory_format=torch.channels_last
    )
    labels = torch.arange(32) % 10
    found = {}
    for kind in ("fused", "operators", "double"):
        torch.manual_seed(0)
        model = build(spec).to(memory_format=torch.channels_last)
        join_batch_norms(model)
        # a network without thresholds in the way of rounding: nothing is quantised
        model, inputs = (model.double(), x.double()) if kind == "double" else (model, x)
        through = {"every": backward_every, "random": backward_random, "stbp": backward_stbp}[backprop]
        steps = spec.time_steps - 1 if backprop == "random" else spec.time_steps
        with operators_only() if kind == "operators" else contextlib.nullcontext():
            loss, _ = through(model, inputs, labels, steps, functional.cross_entropy, torch.Tensor.backward)
        found[kind] = loss.double(), model.classifier.weight.grad.double()
    (loss, grad), (plain_loss, plain_grad), (true_loss, true_grad) = found.values()
    scale = true_grad.norm()
    # as close to the truth as PyTorch's own operators are, in which messages flip by rounding too
    assert abs(loss - true_loss) <= 5 * abs(plain_loss - true_loss) + 0.02 * true_loss
    assert (grad - true_grad).norm() <= 5 * (plain_grad - true_grad).norm() + 0.05 * scale


@settings(max_examples=20, deadline=None)
@given(SHAPES, BITS, st.integers(0, 1000))
def test_steps_in_one_batch_are_those_one_by_one(shape, bits, seed):
    neuron = make_neuron("parallel", shape[1], bits, 0.25)
    inputs = [images(shape, seed).detach(), images(shape, seed + 1).detach()]
    with torch.no_grad():
        one_by_one = []
        for step, x in enumerate(inputs):
            set_step(neuron, step)
            one_by_one.append(neuron(x))
        set_step(neuron, None)
        together = torch.cat(inputs).contiguous(memory_format=torch.channels_last)
        folded = neuron(together)
    assert torch.equal(folded, torch.cat(one_by_one))
    carried = cpu.messages_of(folded)
    assert (carried is None) == (bits is None)
    if carried is not None:
        assert torch.equal(carried[0] * 0.25, folded)


def test_nan_is_not_lost_in_messages():
    torch.manual_seed(0)
    conv, neuron = TernaryConv2d(16, 4, 3, padding=1), make_neuron("hybrid", 16, 4, 0.25)
    x = images((4, 16, 9, 9), 0).detach()
    x[1, 2, 3, 4] = float("nan")
    spikes = neuron(x)
    assert spikes.isnan().sum() == 1
    assert cpu.messages_of(spikes) is None
    assert conv(spikes).isnan().any()
    lif = make_neuron("lif", 16, None, 0.25)
    lif(x)
    assert lif.v is not None
    assert lif.v.isnan().any()


def test_threads_stay_as_they_are():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        make_neuron("hybrid", 16, 4, 0.25)(images((4, 16, 9, 9), 0))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "x",
    [torch.zeros(4, 16, 8, 8), torch.zeros(4, 4096), torch.zeros(4, 16, 8, 8).double()],
    ids=["not channels last", "not images", "double precision"],
)
def test_what_does_not_fit(x):
    assert not cpu.fits(x)
