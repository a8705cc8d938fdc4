"""Fold average pooling of spikes into the synapses that read it: one convolution instead of a pool and a convolution.

A sum over K x K windows followed by a convolution is one convolution with every weight repeated K x K times, K times
the stride and padding: the same sums, so the fold is exact. It saves the pool's neurons and messages and costs K^2
times the weights; worth it on chips that share kernels or whose cores are short of neurons rather than of memory.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hmdf.sim.contract import Conv2d, Linear, SumPool

from ..graph import (
    Array,
    FoldedFiring,
    FoldedGraph,
    FoldedNode,
    FoldedPopulation,
    FoldedPort,
    FoldedRelay,
    FoldedSynapse,
)


def merge_pools(graph: FoldedGraph) -> FoldedGraph:
    """The same network without the pools that can be folded exactly; others stay.

    A pool is folded when it sums spikes in windows that tile the image, and when only ungrouped, undilated
    convolutions and linear layers read it.
    """
    nodes = {node.name: node for node in graph.nodes}
    for relay in graph.nodes:
        window = _window_of(relay, nodes)
        if window is None:
            continue
        readers = [n for n in nodes.values() if _reads(n, relay.name)]
        if not all(isinstance(r, FoldedSynapse) and _absorbs(r) for r in readers):
            continue
        assert isinstance(relay, FoldedPopulation)
        factor = relay.ports[0].gain
        for reader in readers:
            assert isinstance(reader, FoldedSynapse)
            nodes[reader.name] = _absorbed(reader, window)
        _rescale(nodes, {r.name for r in readers}, factor)
        graph = _rescaled_readout(graph, {r.name for r in readers}, float(factor[0, 0]))
        del nodes[window.name], nodes[relay.name]
    return replace(graph, nodes=tuple(nodes[n.name] for n in graph.nodes if n.name in nodes))


def _window_of(relay: FoldedNode, nodes: dict[str, FoldedNode]) -> FoldedSynapse | None:
    """The pool of a relay that passes on nothing but a pool of spikes."""
    if not (isinstance(relay, FoldedPopulation) and isinstance(relay.dynamics, FoldedRelay) and len(relay.ports) == 1):
        return None
    plain = relay.gate is None and not relay.bias.any() and relay.ports[0].gain.size == 1
    window = nodes.get(relay.ports[0].source)
    if not (plain and isinstance(window, FoldedSynapse) and isinstance(window.op, SumPool)):
        return None
    source = nodes.get(window.source)
    tiles = window.op.kernel == window.op.stride and window.op.padding == (0, 0)
    spikes = isinstance(source, FoldedPopulation) and isinstance(source.dynamics, FoldedFiring)
    fits = source is not None and all(s % k == 0 for s, k in zip(source.shape[1:], window.op.kernel, strict=True))
    return window if tiles and spikes and fits else None


def _reads(node: FoldedNode, name: str) -> bool:
    if isinstance(node, FoldedSynapse):
        return node.source == name
    return any(p.source == name for p in node.ports) or (node.gate is not None and node.gate.source == name)


def _absorbs(reader: FoldedSynapse) -> bool:
    if isinstance(reader.op, Conv2d):
        return reader.op.groups == 1 and reader.op.dilation == (1, 1)
    return isinstance(reader.op, Linear)


def _absorbed(reader: FoldedSynapse, window: FoldedSynapse) -> FoldedSynapse:
    assert isinstance(window.op, SumPool)
    kh, kw = window.op.kernel
    if isinstance(reader.op, Linear):
        pooled = reader.op.weight.reshape(-1, *window.shape)
        weight = np.repeat(np.repeat(pooled, kh, axis=2), kw, axis=3).reshape(len(pooled), -1)
        return replace(reader, source=window.source, op=Linear(weight, reader.op.weight_bits))
    assert isinstance(reader.op, Conv2d)
    op = Conv2d(
        np.repeat(np.repeat(reader.op.weight, kh, axis=2), kw, axis=3),
        reader.op.weight_bits,
        stride=(reader.op.stride[0] * kh, reader.op.stride[1] * kw),
        padding=(reader.op.padding[0] * kh, reader.op.padding[1] * kw),
    )
    return replace(reader, source=window.source, op=op)


def _rescale(nodes: dict[str, FoldedNode], synapses: set[str], factor: Array) -> None:
    """Multiply by the pool's 1 / K^2 where the synapses' accumulators are taken in."""
    for name, node in nodes.items():
        if isinstance(node, FoldedPopulation) and any(p.source in synapses for p in node.ports):
            ports = tuple(FoldedPort(p.source, p.gain * factor) if p.source in synapses else p for p in node.ports)
            nodes[name] = replace(node, ports=ports)


def _rescaled_readout(graph: FoldedGraph, synapses: set[str], factor: float) -> FoldedGraph:
    if graph.readout not in synapses:
        return graph
    return replace(graph, readout_gain=graph.readout_gain * factor)
