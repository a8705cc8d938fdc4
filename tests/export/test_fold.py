"""Folding changes nothing: the module as written, the paper's eq. 7 and the canonical form agree in float64."""

import numpy as np
import pytest
import torch
from networks import images, module_logits, randomised, small

from hmdf.export.evaluate import evaluate
from hmdf.export.graph import FoldedPopulation, FoldedSynapse
from hmdf.export.passes.fold import fold
from hmdf.export.passes.merge_pools import merge_pools
from hmdf.export.passes.trace import trace
from hmdf.train.neurons import GradedSpike, HybridFiring, LeakyIntegrateAndFire, ParallelFiring, reset, set_step

T = 4


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12))


def folded_logits(module, x: torch.Tensor) -> np.ndarray:
    example = x[:, 0] if x.dim() == 5 else x
    return evaluate(fold(trace(module, example)), x.numpy()).logits


@pytest.mark.parametrize("pool", ["average", "max"])
@pytest.mark.parametrize("seca", ["none", "I", "II", "II-gate"])
@pytest.mark.parametrize("neuron", ["plain", "mpbn", "parallel", "lif", "lm-h", "lm-h-radical"])
def test_the_folded_network_computes_what_the_module_computes(neuron, seca, pool):
    bits = None if neuron != "plain" else 4
    module = randomised(small(neuron=neuron, seca=seca, pool=pool, spike_bits=bits).double(), seed=3)
    x = torch.from_numpy(images(3))
    with torch.no_grad():
        expected = module_logits(module, x, T).numpy()
    assert relative(folded_logits(module, x), expected) < 1e-9


def test_each_step_of_a_norm_keeps_its_statistics():
    module = randomised(small(neuron="lm-h", norm="each").double(), seed=3)
    x = torch.from_numpy(images(3))
    with torch.no_grad():
        expected = module_logits(module, x, T).numpy()
        assert relative(folded_logits(module, x), expected) < 1e-9
        for norm in module.block.layer1.norm.norms:
            norm.running_mean.copy_(module.block.layer1.norm.norms[0].running_mean)
        assert relative(module_logits(module, x, T).numpy(), expected) > 1e-3


def test_frames_reach_the_step_they_belong_to():
    module = randomised(small(neuron="mpbn").double(), seed=1)
    x = torch.from_numpy(images(3 * T).reshape(3, T, 2, 8, 8))
    with torch.no_grad():
        expected = module_logits(module, x, T).numpy()
        assert relative(folded_logits(module, x), expected) < 1e-9
        assert relative(folded_logits(module, x.flip(1)), expected) > 1e-3


# ---------------------------------------------------------------- one neuron, three forms


def run_neuron(neuron, currents: np.ndarray) -> np.ndarray:
    """Spikes (T, N, C) of the module for currents (T, N, C)."""
    reset(neuron)
    spikes = []
    with torch.no_grad():
        for t in range(len(currents)):
            set_step(neuron, t)
            spikes.append(neuron(torch.from_numpy(currents[t])).numpy())
    return np.stack(spikes)


def coefficients(neuron) -> tuple[np.ndarray, np.ndarray]:
    """a and o of eq. 7, (T, C)."""
    a, o = [], []
    for t, norm in enumerate(neuron.norms):
        slope = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        a.append(neuron.alpha()[t] + neuron.beta()[t] * slope)
        o.append(neuron.beta()[t] * (slope * norm.running_mean - norm.bias))
    return torch.stack(a).detach().numpy(), torch.stack(o).detach().numpy()


def equation_7(neuron, currents: np.ndarray) -> np.ndarray:
    """The paper's fold: leak a*lambda, current a*I, threshold theta + o, reset v = m - s - o."""
    a, o = coefficients(neuron)
    leak, theta = neuron.leak().numpy(), neuron.threshold().numpy()
    v, spikes = np.zeros_like(currents[0]), []
    for t in range(len(currents)):
        m = a[t] * leak[t] * v + a[t] * currents[t]
        s = np.maximum(m - (theta[t] + o[t]), 0)
        v = m - s - o[t]
        spikes.append(s)
    return np.stack(spikes)


def canonical(neuron, currents: np.ndarray) -> np.ndarray:
    """The Program's fold: leak a*lambda, current a*I - o, threshold theta, reset v = min(m, theta)."""
    a, o = coefficients(neuron)
    leak, theta = neuron.leak().numpy(), neuron.threshold().numpy()
    v, spikes = np.zeros_like(currents[0]), []
    for t in range(len(currents)):
        m = a[t] * leak[t] * v + (a[t] * currents[t] - o[t])
        spikes.append(np.maximum(m - theta[t], 0))
        v = np.minimum(m, theta[t])
    return np.stack(spikes)


@pytest.mark.parametrize("seed", range(8))
def test_module_equation_7_and_canonical_form_agree(seed):
    neuron = randomised(HybridFiring(6, T, mpbn=True, spike=GradedSpike(None)).double(), seed)
    currents = np.random.default_rng(seed).normal(size=(T, 5, 6)) * 2
    expected = run_neuron(neuron, currents)
    a, _ = coefficients(neuron)
    assert (a < 0).any(), "negative gains are part of the test"
    assert expected.any()
    assert relative(equation_7(neuron, currents), expected) < 1e-5
    assert relative(canonical(neuron, currents), expected) < 1e-5


def test_alpha_one_beta_zero_is_the_plain_neuron():
    plain = randomised(HybridFiring(6, T, mpbn=False, spike=GradedSpike(None)).double(), 5)
    normed = randomised(HybridFiring(6, T, mpbn=True, spike=GradedSpike(None)).double(), 5)
    normed.set_mixture(1.0, 0.0)
    normed.load_state_dict({**normed.state_dict(), **plain.state_dict()}, strict=True)
    currents = np.random.default_rng(0).normal(size=(T, 5, 6)) * 2
    expected = run_neuron(plain, currents)
    assert relative(run_neuron(normed, currents), expected) < 1e-12
    assert relative(canonical(normed, currents), expected) < 1e-12
    assert relative(equation_7(normed, currents), expected) < 1e-12


# ------------------------------------------------------------------------ structure


def test_synapses_and_populations_alternate_and_an_accumulator_has_one_reader():
    graph = fold(trace(small(neuron="mpbn", seca="II"), torch.zeros(1, 2, 8, 8)))
    populations = {n.name for n in graph.nodes if isinstance(n, FoldedPopulation)} | {"input"}
    readers: dict[str, int] = {}
    for node in graph.nodes:
        if isinstance(node, FoldedSynapse):
            assert node.source in populations, f"{node.name} reads an accumulator"
            continue
        for port in node.ports:
            readers[port.source] = readers.get(port.source, 0) + 1
    synapses = {n.name for n in graph.nodes if isinstance(n, FoldedSynapse)} - {graph.readout}
    assert {name: readers.get(name, 0) for name in synapses} == dict.fromkeys(synapses, 1)


def test_the_residual_stream_is_one_relay_and_neurons_read_it():
    graph = fold(trace(small(neuron="plain"), torch.zeros(1, 2, 8, 8)))
    nodes = {n.name: n for n in graph.nodes}
    assert nodes["stem_norm"].dynamics.passes_on
    assert [p.source for p in nodes["block.act1"].ports] == ["stem_norm"]
    assert {p.source for p in nodes["act3"].ports} == {"block.layer2.conv", "stem_norm"}


class Merged(torch.nn.Module):
    """Three kinds of sharing at once: a neuron called three times, sums of sums, and a current with two readers."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(2, 6, 3, bias=True)
        self.norm = torch.nn.BatchNorm2d(6)
        self.shared = ParallelFiring(6, T, spike=GradedSpike(None))
        self.binary = LeakyIntegrateAndFire(6, T)
        self.grouped = torch.nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.head = torch.nn.Linear(6 * 6 * 6, 3)

    def forward(self, x):
        current = self.norm(self.first(x))
        a = self.grouped(self.shared(current))
        b = self.grouped(self.shared(a + current))
        c = self.shared(b * 0.5 + a / 4)
        return self.head(torch.flatten(self.binary(c + a + b), 1))


def test_shared_modules_and_sums_of_sums():
    torch.manual_seed(0)
    module = randomised(Merged().double(), 2)
    x = torch.from_numpy(images(4))
    with torch.no_grad():
        expected = module_logits(module, x, T).numpy()
    graph = fold(trace(module, x))
    assert relative(evaluate(graph, x.numpy()).logits, expected) < 1e-9
    kinds = [p.dynamics.integer.kind() for p in graph.populations if not p.dynamics.passes_on]
    assert sorted(kinds) == ["leaky_integrate_and_fire", *["parallel_firing"] * 3]


# ------------------------------------------------------------------------- pools merged


@pytest.mark.parametrize("size", [(2, 8, 8), (2, 12, 8)])
def test_merged_pools_compute_the_same_with_fewer_populations(size):
    spec = {"neuron": "mpbn", "input_shape": size, "spike_bits": 4}
    module = randomised(small(**spec).double(), 3)
    x = torch.from_numpy(images(3, size))
    graph = fold(trace(module, x))
    merged = merge_pools(graph)
    assert len(merged.nodes) == len(graph.nodes) - 4
    assert {n.name for n in graph.nodes} - {n.name for n in merged.nodes} == {
        "pool",
        "pool.window",
        "global_pool",
        "global_pool.window",
    }
    assert relative(evaluate(merged, x.numpy()).logits, evaluate(graph, x.numpy()).logits) < 1e-12


def test_a_pool_that_does_not_tile_or_pools_currents_stays():
    odd = fold(trace(small(neuron="plain", input_shape=(2, 9, 9)), torch.zeros(1, 2, 9, 9)))
    assert "pool" in {n.name for n in merge_pools(odd).nodes}
    attended = fold(trace(small(neuron="plain", seca="I"), torch.zeros(1, 2, 8, 8)))
    names = {n.name for n in merge_pools(attended).nodes}
    assert "layer3.seca.pool" in names
    assert "pool" not in names
