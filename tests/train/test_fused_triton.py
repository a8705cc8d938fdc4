"""The Triton kernels against the neurons' own operators: on a GPU, or interpreted (conftest.py) where there is none."""

import pytest
import torch

pytest.importorskip("triton", reason="needs Triton")

from hmdf.train.fused import triton
from hmdf.train.neurons import GradedSpike, HybridFiring, MultiHierarchical, ParallelFiring, reset, set_online, set_step

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LAYOUTS = {"image": torch.contiguous_format, "channels_last": torch.channels_last}


def tensor(layout: str = "channels_last", scale: float = 2.0) -> torch.Tensor:
    x = (scale * torch.randn(5, 3, 17, 19)).to(DEVICE)
    return x.contiguous(memory_format=LAYOUTS[layout])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [None, 1, 4, 8])
@pytest.mark.parametrize("mpbn", [False, True])
@pytest.mark.parametrize("kind", [HybridFiring, ParallelFiring])
def test_a_neuron_is_what_its_operators_compute(kind, mpbn, bits, layout, monkeypatch):
    torch.manual_seed(0)
    neuron = kind(3, 3, mpbn, GradedSpike(bits, 0.25)).to(DEVICE)
    with torch.no_grad():
        for parameter in neuron.parameters():
            parameter.uniform_(-1, 1)
    currents, weight = [tensor(layout) for _ in range(3)], tensor(layout)
    monkeypatch.setattr("hmdf.train.fused.cpu.fits", lambda x: False)
    results = []
    for by_kernel in (False, True):
        monkeypatch.setattr(triton, "fits", lambda x, by_kernel=by_kernel: by_kernel)
        neuron.zero_grad()
        reset(neuron)
        named = {}
        for step, current in enumerate(currents):
            set_step(neuron, step)
            x = current.clone().requires_grad_()
            spikes = neuron(x)
            (spikes * weight).sum().backward()
            named |= {f"spikes {step}": spikes, f"current {step}": x.grad}
        assert ("_FireBackward" in str(spikes.grad_fn)) == by_kernel
        if kind is HybridFiring:
            named["v"] = neuron.v
        results.append(named | {name: parameter.grad for name, parameter in neuron.named_parameters()})
    for name, expected in results[0].items():
        torch.testing.assert_close(
            results[1][name], expected, rtol=1e-5, atol=1e-3 if "." in name or "logit" in name else 1e-6
        )
    assert all(results[0][f"spikes {step}"].count_nonzero() > 100 for step in range(3))


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("radical", [False, True])
def test_the_multi_hierarchical_neuron_is_what_its_operators_compute(radical, online, monkeypatch):
    torch.manual_seed(0)
    neuron = MultiHierarchical(3, 3, radical, threshold=0.75, width=1.5).to(DEVICE)
    with torch.no_grad():
        for parameter in neuron.parameters():
            parameter.uniform_(-1, 1)
    set_online(neuron, online)
    currents, weights = [tensor() for _ in range(3)], [tensor() for _ in range(3)]
    monkeypatch.setattr("hmdf.train.fused.cpu.fits", lambda x: False)
    results = []
    for by_kernel in (False, True):
        monkeypatch.setattr(triton, "fits", lambda x, by_kernel=by_kernel: by_kernel)
        neuron.zero_grad()
        reset(neuron)
        inputs, loss = [current.clone().requires_grad_() for current in currents], torch.zeros((), device=DEVICE)
        named = {}
        for step, x in enumerate(inputs):
            set_step(neuron, step)
            named[f"spikes {step}"] = spikes = neuron(x)
            loss = loss + (spikes * weights[step]).sum()
        assert ("_FireHierarchicalBackward" in str(spikes.grad_fn)) == by_kernel
        loss.backward()
        named |= {"d": neuron.d, "v": neuron.v, **{f"current {step}": x.grad for step, x in enumerate(inputs)}}
        results.append(named | {name: parameter.grad for name, parameter in neuron.named_parameters()})
    for name, expected in results[0].items():
        torch.testing.assert_close(results[1][name], expected, rtol=1e-4, atol=1e-2 if "logit" in name else 1e-5)


def test_16_bit_currents_give_16_bit_spikes_of_32_bit_arithmetic():
    current, v, scalar = tensor().bfloat16(), tensor().bfloat16(), torch.tensor(0.4, device=DEVICE)
    lsb = torch.tensor(0.25, device=DEVICE)
    spikes, after = triton.fire(current, v, scalar, scalar, lsb, 4)
    exact, exact_after = triton.fire(current.float(), v.float(), scalar, scalar, lsb, 4)
    assert spikes.dtype == after.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), exact)
    # Triton's interpreter rounds towards zero
    torch.testing.assert_close(after.float(), exact_after, rtol=2**-7, atol=0.0)


def test_what_is_not_finite_stays_so():
    current = torch.tensor([float("nan"), 1.0, float("inf"), -float("inf")], device=DEVICE)
    half, lsb = torch.tensor(0.5, device=DEVICE), torch.tensor(0.25, device=DEVICE)
    spikes, v = triton.fire(current, None, half, half, lsb, 4)
    assert spikes.isnan().tolist() == v.isnan().tolist() == [True, False, False, False]
    assert spikes[1:].tolist() == [0.5, 3.75, 0.0]


def test_tensors_in_another_order_of_memory_are_put_in_order():
    scalar, lsb = torch.tensor(0.4, device=DEVICE), torch.tensor(0.3, device=DEVICE)
    current, v = tensor("channels_last"), tensor("image")
    results = []
    for before in (v, v.contiguous(memory_format=torch.channels_last)):
        x = current.clone().requires_grad_()
        spikes, after = triton.fire(x, before, scalar, scalar, lsb, 4)
        spikes.backward(current.contiguous())
        results.append((spikes, after, x.grad))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    assert torch.equal(results[0][2], current * (results[0][1] == scalar))


def test_without_a_compiler_the_operators_take_over(monkeypatch):
    class NoCompiler:
        def __getitem__(self, grid):
            raise RuntimeError("Failed to find C compiler")

    from hmdf.train.fused import triton_loops

    monkeypatch.setattr(triton_loops, "fire", NoCompiler())
    with pytest.warns(UserWarning, match="slower: Triton: Failed to find C compiler"):
        assert triton.kernels.__wrapped__() is None
