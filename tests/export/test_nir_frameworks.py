"""Networks trained in snnTorch, Sinabs, Norse and SpikingJelly, exported by them, against their own float runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hmdf

pytest.importorskip("nir", reason="NIR is not installed: pip install 'hmdf[nir]'")
STEPS = 10
COMPARED = 1000
SAME_CLASS = 0.98
SPIKES_WITHIN = 0.02

Run = Callable[[Tensor], list[Tensor]]
"""Images (N, 1, 8, 8), shown at every step, to what each layer of neurons sends, (T, N, *shape), the output last."""


def framework(name):
    """A framework; its own warnings of what is deprecated in what it uses are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed: pip install --group dev")


@pytest.fixture(scope="module")
def digits():
    """Real digits: 797 to train with, and 1,000 others."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images[:, None] / 16).float()
    order = np.random.default_rng(0).permutation(len(x))
    y = torch.from_numpy(bunch.target)
    return (x[order[COMPARED:]], y[order[COMPARED:]]), (x[order[:COMPARED]], y[order[:COMPARED]])


def trained(net: nn.Module, run: Run, data, epochs: int = 4, rate: float = 1e-2) -> None:
    """A few epochs of Adam on the sum of the output over the steps."""
    x, y = data
    weights = [p for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d) for p in m.parameters()]
    optimiser = torch.optim.Adam(weights, lr=rate)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(100):
            optimiser.zero_grad()
            nn.functional.cross_entropy(run(x[batch])[-1].sum(0), y[batch]).backward()
            optimiser.step()


def compared(graph, run: Run, data, layers: dict[str, int], dialect: str, least: float = 0.85) -> None:
    """The program against the framework: class, and the messages of `layers`, by name their index in the run."""
    x, y = data
    with torch.inference_mode():
        sent = [part.numpy() for part in run(x)]
    samples = x.numpy().astype(np.float64)
    compilation = hmdf.compile(graph, samples[:64], dialect=dialect, time_steps=STEPS)
    assert compilation.fits
    result = hmdf.simulate(compilation.program, samples, taps=True)
    expected = sent[-1].sum(0).argmax(1)
    assert np.mean(expected == y.numpy()) > least
    assert np.mean(result.predictions == expected) >= SAME_CLASS
    for name, index in layers.items():
        theirs, scale = float(sent[index].sum()), compilation.program.message_of(name).scale
        ours = scale * float(np.asarray(result.messages[name]).sum())
        assert abs(ours - theirs) <= SPIKES_WITHIN * abs(theirs), f"{name}: {ours:g} against {theirs:g}"


def stepwise(step: Callable[[Tensor], list[Tensor]], x: Tensor) -> list[Tensor]:
    """What a network that computes one time-step sends in all of them."""
    return [torch.stack(parts) for parts in zip(*(step(x) for _ in range(STEPS)), strict=True)]


@pytest.mark.parametrize("neuron", ["Leaky", "Synaptic", "RLeaky", "RSynaptic"])
def test_snntorch(digits, neuron):
    snn = framework("snntorch")
    from snntorch import utils
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(0)

    def layer(size: int) -> nn.Module:
        options = {"beta": torch.full((size,), 0.8), "threshold": torch.ones(size), "init_hidden": True}
        options |= {"alpha": torch.full((size,), 0.5)} if "Synaptic" in neuron else {}
        options |= {"linear_features": size} if neuron[0] == "R" else {}
        return getattr(snn, neuron)(**options)

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), layer(40), nn.Linear(40, 10), layer(10))

    def run(x: Tensor) -> list[Tensor]:
        utils.reset(net)
        for layer in (net[2], net[4]) if neuron == "RSynaptic" else ():
            layer.reset_mem()  # which `utils.reset` leaves as they are
        return stepwise(lambda x: [hidden := net[:3](x), net[3:](hidden)], x)

    trained(net, run, digits[0], epochs=8 if neuron == "RSynaptic" else 4)
    utils.reset(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = export_to_nir(net, digits[0][0][:1], ignore_dims=[0])
    kind = "cubalif" if "Synaptic" in neuron else "lif"
    inner = ".lif" if neuron[0] == "R" else ""  # a graph for each layer, in which its spikes go back
    compared(graph, run, digits[1], {f"{kind}_2{inner}": 0, f"{kind}_4{inner}": 1}, "snntorch")


@pytest.mark.parametrize("neuron", ["LIF", "IAF"])
def test_sinabs(digits, neuron):
    sinabs = framework("sinabs")
    from sinabs import layers
    from sinabs.activation import SingleSpike
    from sinabs.nir import to_nir

    torch.manual_seed(0)
    if neuron == "LIF":
        options = {"tau_mem": torch.full((40,), 5.0), "spike_threshold": torch.ones(40), "spike_fn": SingleSpike}
        output = layers.ExpLeak(tau_mem=torch.full((10,), 5.0), norm_input=True)
        net = nn.Sequential(nn.Linear(64, 40), layers.LIF(**options), nn.Linear(40, 10), output)
        with torch.no_grad():
            net[0].weight *= 4
    else:
        spiking = [layers.IAF(spike_fn=SingleSpike) for _ in range(2)]
        convolution = nn.Conv2d(1, 8, 3, padding=1)
        net = nn.Sequential(
            convolution, spiking[0], layers.SumPool2d(2, 2), nn.Flatten(), nn.Linear(128, 10), spiking[1]
        )

    def run(x: Tensor) -> list[Tensor]:
        sinabs.reset_states(net)
        if neuron == "LIF":
            hidden = net[:2](x.flatten(1)[:, None].expand(-1, STEPS, -1))
            return [hidden.transpose(0, 1), net[2:](hidden).transpose(0, 1)]
        n = len(x)
        hidden = net[1](net[0](x)[:, None].expand(-1, STEPS, -1, -1, -1))
        output = net[5](net[2:5](hidden.flatten(0, 1)).reshape(n, STEPS, 10))
        return [hidden.transpose(0, 1), output.transpose(0, 1)]

    trained(net, run, digits[0], epochs=6)
    sinabs.reset_states(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if neuron == "LIF":
            graph = to_nir(net, torch.zeros(1, STEPS, 64))
            names = {"lif_1": 0, "li_3": 1}
        else:
            squeezed = [layers.IAFSqueeze(batch_size=1, spike_fn=SingleSpike) for _ in range(2)]
            graph = to_nir(nn.Sequential(net[0], squeezed[0], *net[2:5], squeezed[1]), torch.zeros(1, 1, 8, 8))
            names = {"if_1": 0, "if_5": 1}
    compared(graph, run, digits[1], names, "sinabs")


@pytest.mark.parametrize("neuron", ["LIFBoxCell", "LIFCell"])
def test_norse(digits, neuron):
    norse = framework("norse.torch")
    torch.manual_seed(0)
    output = norse.LIBoxCell() if neuron == "LIFBoxCell" else norse.IAFCell()
    net = norse.SequentialState(nn.Linear(64, 40), getattr(norse, neuron)(), nn.Linear(40, 10), output)
    with torch.no_grad():
        net[0].weight *= 6

    def run(x: Tensor) -> list[Tensor]:
        states: list = [None, None]

        def step(x: Tensor) -> list[Tensor]:
            hidden, states[0] = net[1](net[0](x.flatten(1)), states[0])
            end, states[1] = net[3](net[2](hidden), states[1])
            return [hidden, end]

        return stepwise(step, x)

    trained(net, run, digits[0], epochs=12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = norse.to_nir(net, torch.zeros(1, 64))
    names = {"lif_1": 0, "li_3": 1} if neuron == "LIFBoxCell" else {"cubalif_1": 0, "if_3": 1}
    compared(graph, run, digits[1], names, "norse")


@pytest.mark.parametrize("neuron", ["LIFNode", "CUBALIFNode"])
def test_spikingjelly(digits, neuron):
    framework("spikingjelly")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from spikingjelly.activation_based import functional, nir_exchange, surrogate
        from spikingjelly.activation_based import neuron as neurons

    torch.manual_seed(0)
    hidden = getattr(neurons, neuron)(surrogate_function=surrogate.ATan())
    output = neurons.IFNode(surrogate_function=surrogate.ATan())
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), hidden, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 10), output
    )
    with torch.no_grad():
        net[0].weight *= 3
        net[4].weight *= 3

    def run(x: Tensor) -> list[Tensor]:
        functional.reset_net(net)
        return stepwise(lambda x: [spikes := net[:2](x), net[2:](spikes)], x)

    trained(net, run, digits[0], epochs=6)
    functional.reset_net(net)
    graph = nir_exchange.export_to_nir(net, digits[0][0][:1])
    functional.reset_net(net)
    compared(graph, run, digits[1], {"_1": 0, "_5": 1}, "spikingjelly")
