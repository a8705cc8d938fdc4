"""The Triton kernels against the neurons' own operators: on a GPU, or interpreted where there is Triton alone."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton", reason="needs Triton, which comes with the CUDA builds of torch")

from hmdf.train import fused_gpu
from hmdf.train.neurons import GradedSpike, HybridFiring, ParallelFiring

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LAYOUTS = {"image": torch.contiguous_format, "channels_last": torch.channels_last}


def tensor(layout: str = "channels_last", scale: float = 2.0) -> torch.Tensor:
    x = (scale * torch.randn(5, 3, 17, 19)).to(DEVICE)
    return x.contiguous(memory_format=LAYOUTS[layout])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [None, 1, 4, 8])
@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("kind", [HybridFiring, ParallelFiring])
def test_a_step_is_what_the_operators_compute(kind, step, bits, layout, monkeypatch):
    torch.manual_seed(step)
    membrane = kind is HybridFiring
    neuron = kind(3, 4, spike=GradedSpike(bits, 0.25)).to(DEVICE)
    results = []
    current, v, weight = tensor(layout), tensor(layout), tensor(layout)
    with torch.no_grad():
        for logit in neuron.parameters():
            logit.uniform_(-1, 1)
    monkeypatch.setattr(fused_gpu, "fits", lambda x: False)
    for by_kernel in (False, True):
        neuron.zero_grad()
        neuron.step = step
        x = current.double().float().requires_grad_()
        theta = neuron.threshold_logit[step].sigmoid()
        before = v if membrane and step else None
        if by_kernel:
            leak = neuron.leak_logit[step].sigmoid() if before is not None else theta.detach()
            spikes, after = fused_gpu.fire(x, before, leak, theta, neuron.spike.lsb, bits, membrane)
        else:
            if membrane:
                neuron.v = before
            monkeypatch.setattr("hmdf.train.fused.fits", lambda x: False)
            spikes = neuron(x)
            after = neuron.v if membrane else None
        (spikes * weight).sum().backward()
        of_leak = neuron.leak_logit.grad if before is not None else None
        results.append((spikes, after, x.grad, neuron.threshold_logit.grad, of_leak))
    for name, expected, got in zip(("spikes", "v", "current", "theta", "leak"), *results, strict=True):
        assert (expected is None) == (got is None), name
        if expected is not None:
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4 if name in ("theta", "leak") else 1e-6)
    assert results[0][0].count_nonzero() > 100


def test_16_bit_currents_give_16_bit_spikes_of_32_bit_arithmetic():
    current, v, scalar = tensor().bfloat16(), tensor().bfloat16(), torch.tensor(0.4, device=DEVICE)
    lsb = torch.tensor(0.25, device=DEVICE)
    spikes, after = fused_gpu.fire(current, v, scalar, scalar, lsb, 4)
    exact, exact_after = fused_gpu.fire(current.float(), v.float(), scalar, scalar, lsb, 4)
    assert spikes.dtype == after.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), exact)
    # Triton's interpreter rounds towards zero
    torch.testing.assert_close(after.float(), exact_after, rtol=2**-7, atol=0.0)


def test_what_is_not_finite_stays_so():
    current = torch.tensor([float("nan"), 1.0, float("inf"), -float("inf")], device=DEVICE)
    half, lsb = torch.tensor(0.5, device=DEVICE), torch.tensor(0.25, device=DEVICE)
    spikes, v = fused_gpu.fire(current, None, half, half, lsb, 4)
    assert spikes.isnan().tolist() == v.isnan().tolist() == [True, False, False, False]
    assert spikes[1:].tolist() == [0.5, 3.75, 0.0]
