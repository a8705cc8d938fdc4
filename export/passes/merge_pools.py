"""Fold average pooling of spikes into the synapses that read it: one convolution instead of a pool and a convolution.

A sum over K x K windows followed by a convolution is one convolution with every weight repeated K x K times, K times
the stride and padding: the same sums, so the fold is exact. It saves the pool's neurons and messages and costs K^2
times the weights; worth it on chips that share kernels or whose cores are short of neurons rather than of memory.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from msgspec import structs

from hmdf.sim.contract import Conv2d, Linear, SumPool

from ..graph import FoldedGraph, FoldedNode, FoldedPopulation, FoldedPort, FoldedSynapse


def merge_pools(graph: FoldedGraph) -> FoldedGraph:
    """The same network without the pools that can be folded exactly; others stay.

    A pool is folded when it sums spikes in windows that tile the image, and when only ungrouped, undilated
    convolutions and linear layers read it.
    """
    for relay in graph.populations:
        window = _window_of(relay, graph)
        if window is not None and all(_absorbs(reader) for reader in graph.readers[relay.name]):
            graph = _merged(graph, relay, window)
    return graph


def _window_of(relay: FoldedPopulation, graph: FoldedGraph) -> FoldedSynapse | None:
    """The pool of a relay that passes on nothing but a pool of spikes."""
    plain = relay.dynamics.passes_on and relay.gate is None and not relay.bias.any()
    if not plain or len(relay.ports) > 1 or relay.ports[0].gain.size > 1:
        return None
    window = graph.by_name.get(relay.ports[0].source)
    if not (isinstance(window, FoldedSynapse) and isinstance(window.op, SumPool)) or window.delay:
        return None
    source = graph.by_name.get(window.source)
    if not (isinstance(source, FoldedPopulation) and source.dynamics.integer.facts.spikes):
        return None
    tiles = window.op.kernel == window.op.stride and window.op.padding == (0, 0)
    fits = all(size % kernel == 0 for size, kernel in zip(source.shape[1:], window.op.kernel, strict=True))
    return window if tiles and fits else None


def _absorbs(reader: FoldedNode) -> bool:
    if not isinstance(reader, FoldedSynapse):
        return False
    plain = isinstance(reader.op, Conv2d) and reader.op.groups == 1 and reader.op.dilation == (1, 1)
    return plain or isinstance(reader.op, Linear)


def _merged(graph: FoldedGraph, relay: FoldedPopulation, window: FoldedSynapse) -> FoldedGraph:
    """Without the pool `window` and its `relay`: their factor, 1 / K^2, goes to where the readers are taken in."""
    factor = relay.ports[0].gain
    readers = {reader.name for reader in graph.readers[relay.name]}
    nodes: list[FoldedNode] = []
    for node in graph.nodes:
        if node.name in (relay.name, window.name):
            continue
        if isinstance(node, FoldedPopulation):
            ports = (FoldedPort(p.source, p.gain * factor) if p.source in readers else p for p in node.ports)
            nodes.append(replace(node, ports=tuple(ports)))
        else:
            nodes.append(_absorbed(node, window) if node.name in readers else node)
    gain = graph.readout_gain * float(factor[0, 0]) if graph.readout in readers else graph.readout_gain
    return replace(graph, nodes=tuple(nodes), readout_gain=gain)


def _absorbed(reader: FoldedSynapse, window: FoldedSynapse) -> FoldedSynapse:
    """The reader of a pool reading what is pooled."""
    op = reader.op
    assert isinstance(window.op, SumPool)
    assert isinstance(op, Linear | Conv2d)
    kh, kw = window.op.kernel
    per_pixel = op.weight if isinstance(op, Conv2d) else op.weight.reshape(-1, *window.shape)
    weight = np.repeat(np.repeat(per_pixel, kh, axis=2), kw, axis=3)
    if isinstance(op, Linear):
        return replace(reader, source=window.source, op=structs.replace(op, weight=weight.reshape(len(weight), -1)))
    stride, padding = ((pair[0] * kh, pair[1] * kw) for pair in (op.stride, op.padding))
    return replace(reader, source=window.source, op=structs.replace(op, weight=weight, stride=stride, padding=padding))
