"""The NIR graph that a program becomes, and what its kinds of neurons share: currents in units of the threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hmdf.sim.contract import Conv2d, Linear, Population, Port, SumPool, Synapse
from hmdf.sim.program import Program

from ..graph import Array
from .dialect import Reset


@dataclass
class Written:
    """The graph so far.

    Attributes:
        ends: by node of the program, the node of NIR whose value it is.
        resets: what spikes do, and whether neurons fire above their threshold, of all neurons.
        back: edges that are read as spikes of the step before.
    """

    nir: Any
    program: Program
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    resets: set[tuple[Reset, bool | None]] = field(default_factory=set)
    back: set[tuple[str, str]] = field(default_factory=set)

    def add(self, name: str, node: Any, *sources: str) -> str:
        """Add a node of NIR that reads `sources`; returns its name."""
        if name in self.nodes:
            raise Inexpressible(f"'{name}' twice: an accumulator that two populations read")
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name


class Inexpressible(Exception):  # noqa: N818 - a finding in the making
    """What NIR has no node for."""


def weighted(graph: Written, synapse: Synapse, gain: Array, bias: Array) -> str:
    """gain[o] * accumulator + bias[o] of a synapse, with what its source sends as 0, 1, ... (C_out,) each."""
    if not synapse.delay:
        return _weighted(graph, synapse, graph.ends[synapse.source], gain, bias)
    sender = graph.program.by_name[synapse.source]
    if not isinstance(sender, Population) or sender.dynamics.facts.spikes != "binary":
        raise Inexpressible("what no spiking neurons sent at the step before")
    written = len(graph.edges)
    name = _weighted(graph, synapse, synapse.source, gain, bias)  # nodes of spiking neurons have the population's name
    graph.back |= {edge for edge in graph.edges[written:] if edge[0] == synapse.source}
    return name


def _weighted(graph: Written, synapse: Synapse, source: str, gain: Array, bias: Array) -> str:
    nir, op = graph.nir, synapse.op
    if isinstance(op, SumPool):
        kernel, stride, padding = (np.array(x) for x in (op.kernel, op.stride, op.padding))
        name = graph.add(synapse.name.removesuffix(".window"), nir.SumPool2d(kernel, stride, padding), source)
        return scaled(graph, name, graph.program.shapes[synapse.name], gain, bias)
    if not isinstance(op, Conv2d | Linear):
        raise Inexpressible(f"a {op.__struct_config__.tag}")
    weight = op.weight * gain.reshape(-1, *(1,) * (op.weight.ndim - 1))
    if isinstance(op, Conv2d):
        shape = graph.program.shapes[synapse.source]
        node = nir.Conv2d(shape[1:], weight, op.stride, op.padding, op.dilation, op.groups, bias)
        return graph.add(synapse.name, node, source)
    shape = graph.program.shapes[synapse.source]
    if len(shape) > 1:
        flatten = nir.Flatten({"input": np.array(shape)}, 0, -1)
        source = graph.add(f"{synapse.name}_flat", flatten, source)
    return graph.add(synapse.name, nir.Affine(weight, bias) if bias.any() else nir.Linear(weight), source)


def scaled(graph: Written, source: str, shape: tuple[int, ...], gain: Array, bias: Array) -> str:
    """gain[c] * what a node sends, (C,); there is no form for a bias."""
    if bias.any():
        raise Inexpressible("a current that is added to a message")
    if np.all(gain == 1):
        return source
    factors = np.broadcast_to(gain.reshape(-1, *(1,) * (len(shape) - 1)), shape).copy()
    return graph.add(f"{source}_scaled_{len(graph.nodes)}", graph.nir.Scale(factors), source)


def currents(graph: Written, population: Population, unit: Array) -> list[str]:
    """One node for each port: its current with `unit` as the value of one LSB, (1, C or 1); the first has the bias."""
    channels = population.shape[0]
    bias = np.broadcast_to(population.bias[0] * unit[0], (channels,)).astype(np.float64)
    ends = []
    for port in sorted(population.ports, key=lambda p: p.source not in graph.program.by_name):
        gain = np.broadcast_to(_real_gain(graph, port)[0] * unit[0], (channels,)).astype(np.float64)
        node = graph.program.by_name.get(port.source)
        if isinstance(node, Synapse):
            ends.append(weighted(graph, node, gain, bias))
        else:
            ends.append(scaled(graph, graph.ends[port.source], population.shape, gain, bias))
        bias = np.zeros(channels)
    return ends


def _real_gain(graph: Written, port: Port) -> Array:
    """multiplier / 2^shift per unit of what a source's message is worth, (1, C or 1)."""
    node = graph.program.by_name.get(port.source)
    sender = node.source if isinstance(node, Synapse) else port.source
    return port.multiplier / 2.0**port.shift / graph.program.message_of(sender).scale


def spiking(graph: Written, population: Population, make: Callable[[], Any], height: Array) -> str:
    """A neuron whose threshold is `height` in units of its state, with its currents."""
    if population.message.scale != 1:
        raise Inexpressible(f"spikes that are worth {population.message.scale:g}")
    node = make()
    return graph.add(population.name, node, *currents(graph, population, 1 / height))


def full(population: Population, values: Array) -> Array:
    """(1, C or 1) for every neuron."""
    column = np.broadcast_to(values[0], (population.shape[0],)).reshape(-1, *(1,) * (len(population.shape) - 1))
    return np.broadcast_to(column, population.shape).astype(np.float64)


def height_of(threshold: Array) -> Array:
    """A threshold as the unit of its membrane."""
    if (threshold <= 0).any():
        raise Inexpressible("a threshold that is not positive")
    return threshold.astype(np.float64)


def tau_of(population: Population, leak: Array) -> Array:
    """The time constant in steps of which forward Euler keeps `leak`."""
    if (leak >= 1).any() or (leak < 0).any():
        raise Inexpressible(f"a leak of {leak.flat[np.abs(leak - 0.5).argmax()]:g}")
    return full(population, 1 / (1 - leak))


def integrate_and_fire(graph: Written, population: Population, leak: Array) -> Any:
    """IF or LIF that fires at 1 and takes in its current whole."""
    one, nothing = (full(population, np.full((1, 1), float(value))) for value in (1, 0))
    if np.all(leak == 1):
        return graph.nir.IF(one, one.copy(), nothing)
    tau = tau_of(population, leak)
    return graph.nir.LIF(tau, tau.copy(), nothing, one, nothing.copy())


def current_based(graph: Written, population: Population, current_leak: Array, leak: Array, bias: Array) -> Any:
    """CubaLIF whose current takes in its input whole, and whose membrane takes in the current whole."""
    synapse, membrane = tau_of(population, current_leak), tau_of(population, leak)
    one, nothing = (full(population, np.full((1, 1), float(value))) for value in (1, 0))
    leaked = full(population, bias) * membrane
    return graph.nir.CubaLIF(synapse, membrane, membrane.copy(), leaked, one, nothing, w_in=synapse.copy())
