"""Fold every normalisation into ports: from layers to the canonical form in which synapses and populations alternate.

The membrane normalisation folds as in eq. 6-7, with the reset left unchanged: with
a_t = alpha_t + gamma beta_t / sqrt(var_t + eps) and o_t = beta_t (gamma mu_t / sqrt(var_t + eps) - shift),
the leak becomes a lambda, the current a I - o, the threshold stays. An ordinary BatchNorm after a convolution,
I = g acc + h, makes the port's gain a g and the bias a h - o.

A current that has several readers, or that a synapse reads, becomes a relay population of its own: on a chip an
accumulator belongs to one population. What such a current feeds therefore never duplicates a convolution.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from msgspec import structs

from hmdf.sim.contract import INPUT, ChannelConv, Conv2d, Linear, Op, Shape, SumPool
from hmdf.sim.finding import Finding

from ..errors import CompileError
from ..graph import (
    Array,
    AttentionLayer,
    ConcatLayer,
    FiringLayer,
    FlattenLayer,
    FoldedFiring,
    FoldedGate,
    FoldedGraph,
    FoldedNode,
    FoldedPopulation,
    FoldedPort,
    FoldedRelay,
    FoldedSigmoid,
    FoldedSynapse,
    InputLayer,
    Layer,
    LayerGraph,
    NormLayer,
    PoolLayer,
    SliceLayer,
    SumLayer,
    WeightLayer,
)


def fold(graph: LayerGraph) -> FoldedGraph:
    """The canonical form of `graph`; exact up to float64 rounding.

    Raises:
        CompileError: a combination of layers that has no canonical form, with the layer's name.
    """
    return _Folder(graph).run()


@dataclass(frozen=True)
class _Current:
    """sum of gain * source + bias, perhaps gated: what a population would take in. gains (T or 1, C or 1)."""

    shape: Shape
    ports: tuple[FoldedPort, ...]
    bias: Array
    gate: str | None = None
    gate_bias: Array | None = None

    @property
    def message(self) -> str | None:
        """The node whose message this current is, if it is nothing else."""
        if len(self.ports) == 1 and self.gate is None and not self.bias.any() and np.all(self.ports[0].gain == 1):
            return self.ports[0].source
        return None


class _Folder:
    def __init__(self, graph: LayerGraph) -> None:
        self.graph = graph
        self.nodes: list[FoldedNode] = []
        self.layers = {layer.name: layer for layer in graph.layers}
        self.names = {
            INPUT,
            *(name for name, layer in self.layers.items() if isinstance(layer, WeightLayer | FiringLayer)),
        }
        self.currents: dict[str, _Current] = {}
        self.populations = {INPUT}
        self.readers = _count_readers(graph)

    def run(self) -> FoldedGraph:
        for layer in self.graph.layers:
            self.currents[layer.name] = self._layer(layer)
            if self.readers[layer.name] > 1 and not isinstance(layer, FlattenLayer | SliceLayer | ConcatLayer):
                self._as_message(layer.name)
        synapse, gain, bias = self._readout()
        shape = next(layer.shape for layer in self.graph.layers if isinstance(layer, InputLayer))
        return FoldedGraph(self.graph.time_steps, shape, tuple(self.nodes), synapse, gain, bias)

    def _layer(self, layer: Layer) -> _Current:
        match layer:
            case InputLayer():
                return _message(layer.name, layer.shape)
            case WeightLayer():
                ports = tuple(FoldedPort(name, _row(layer.scale)) for name in self._weighted(layer))
                return _Current(layer.shape, ports, _row(layer.bias))
            case PoolLayer():
                return self._pool(layer)
            case NormLayer():
                return _affine(self.currents[layer.source], _row(layer.gain), _row(layer.offset))
            case SumLayer():
                return self._sum(layer)
            case FlattenLayer():
                return self._flatten(layer)
            case FiringLayer():
                return self._firing(layer)
            case AttentionLayer():
                return self._attention(layer)
            case SliceLayer() | ConcatLayer():
                return self._rearranged(layer)

    # --------------------------------------------------------------------------- synapses

    def _weighted(self, layer: WeightLayer) -> list[str]:
        """The layer's synapse; one for each part when it reads a concatenation. Gives their names."""
        source = self.layers[layer.source]
        if self._reads_parts(layer) and isinstance(source, ConcatLayer):
            return self._split(layer, source)
        if self._reads_parts(layer) and isinstance(source, SliceLayer):
            weight = layer.op.weight
            whole = np.zeros((len(weight), self.currents[source.source].shape[0], *weight.shape[2:]))
            whole[:, source.start : source.start + weight.shape[1]] = weight
            padded = structs.replace(layer.op, weight=whole, weight_bits=2 if layer.op.weight_bits else 0)
            self.nodes.append(FoldedSynapse(layer.name, layer.shape, self._as_message(source.source), padded))
            return [layer.name]
        message = self._as_message(layer.source)
        self.nodes.append(FoldedSynapse(layer.name, layer.shape, message, layer.op))
        return [layer.name]

    def _split(self, layer: WeightLayer, source: ConcatLayer) -> list[str]:
        names: list[str] = []
        start = 0
        for part in source.sources:
            count = self.currents[part].shape[0]
            op = structs.replace(layer.op, weight=layer.op.weight[:, start : start + count])
            message, name = self._as_message(part), self._new_name(f"{layer.name}.part{len(names)}")
            self.nodes.append(FoldedSynapse(name, layer.shape, message, op))
            names.append(name)
            start += count
        return names

    def _pool(self, layer: PoolLayer) -> _Current:
        source = self._as_message(layer.source)
        name = self._new_name(f"{layer.name}.window")
        self.nodes.append(FoldedSynapse(name, layer.shape, source, layer.op))
        return _Current(layer.shape, (FoldedPort(name, np.full((1, 1), layer.factor)),), np.zeros((1, 1)))

    def _rearranged(self, layer: SliceLayer | ConcatLayer) -> _Current:
        """Channel slices and concatenations as 1x1 convolutions with weights 0 and 1."""
        if all(isinstance(r, WeightLayer) and self._reads_parts(r) for r in self._readers_of(layer.name)):
            return _Current(layer.shape, (), np.zeros((1, 1)))  # nobody reads it as a whole
        sources = layer.sources if isinstance(layer, ConcatLayer) else (layer.source,)
        start = layer.start if isinstance(layer, SliceLayer) else 0
        ports: list[FoldedPort] = []
        offset = 0
        for index, source in enumerate(sources):
            message = self._as_message(source)
            shape = self.currents[source].shape
            weight = np.zeros((layer.shape[0], shape[0]))
            count = min(shape[0], layer.shape[0])
            rows = np.arange(offset, offset + count)
            weight[rows, np.arange(start, start + count)] = 1
            offset += count if isinstance(layer, ConcatLayer) else 0
            op: Op = Conv2d(weight[:, :, None, None], 2) if len(shape) == 3 else Linear(weight, 2)
            name = self._new_name(f"{layer.name}.part{index}")
            self.nodes.append(FoldedSynapse(name, layer.shape, message, op))
            ports.append(FoldedPort(name, np.ones((1, 1))))
        return _Current(layer.shape, tuple(ports), np.zeros((1, 1)))

    def _reads_parts(self, layer: WeightLayer) -> bool:
        return isinstance(layer.op, Conv2d) and layer.op.groups == 1

    # ------------------------------------------------------------------------ populations

    def _firing(self, layer: FiringLayer) -> _Current:
        steps = self.graph.time_steps
        a, o = np.ones((1, 1)), np.zeros((1, 1))
        if layer.norm is not None:
            n = layer.norm
            slope = n.gamma / np.sqrt(n.variance + n.eps)
            a = n.alpha[:, None] + n.beta[:, None] * slope
            o = n.beta[:, None] * (slope * n.mean - n.shift)
        current = _affine(self.currents[layer.source], a, -o)
        leak = a * layer.leak.reshape(steps, 1)
        dynamics = FoldedFiring(layer.kind, leak, layer.threshold.reshape(steps, 1), layer.spike)
        return _message(self._population(layer.name, current, dynamics), current.shape)

    def _attention(self, layer: AttentionLayer) -> _Current:
        """mean over H, W -> relay -> banded convolution -> sigmoid -> gate of whatever takes the current in."""
        channels, height, width = layer.shape
        pooled_from = self._as_message(layer.pooled_from)
        name, pooled = f"{layer.name}.pool", (channels, 1, 1)
        window = self._new_name(f"{name}.window")
        self.nodes.append(FoldedSynapse(window, pooled, pooled_from, SumPool((height, width), (height, width))))
        mean = FoldedPort(window, np.full((1, 1), 1 / (height * width)))
        relay = self._population(self._new_name(name), _Current(pooled, (mean,), np.zeros((1, 1))), FoldedRelay())
        band = self._new_name(f"{layer.name}.conv")
        op = ChannelConv(layer.taps, 0, padding=len(layer.taps) // 2)
        self.nodes.append(FoldedSynapse(band, pooled, relay, op))
        logit = _Current(pooled, (FoldedPort(band, np.ones((1, 1))),), np.full((1, 1), layer.bias))
        gate = self._population(self._new_name(f"{layer.name}.gate"), logit, FoldedSigmoid())
        current = self.currents[layer.source]
        if current.gate is not None:
            current = _message(self._as_message(layer.source), layer.shape)
        return replace(current, gate=gate, gate_bias=np.zeros((1, 1)))

    def _sum(self, layer: SumLayer) -> _Current:
        parts = [self.currents[source] for source in layer.sources]
        # A gate would scale all ports, so a gated current is only added as a message.
        for index, part in enumerate(parts):
            if part.gate is not None:
                parts[index] = _message(self._as_message(layer.sources[index]), layer.shape)
        merged: dict[str, FoldedPort] = {}
        for port in (port for part in parts for port in part.ports):
            gain = port.gain + merged[port.source].gain if port.source in merged else port.gain
            merged[port.source] = FoldedPort(port.source, gain)
        bias = sum((part.bias for part in parts), np.zeros((1, 1)))
        return _Current(layer.shape, tuple(merged.values()), bias)

    def _flatten(self, layer: FlattenLayer) -> _Current:
        """Only a linear layer may follow, which flattens by itself; or (C, 1, 1) -> (C,)."""
        source = self.currents[layer.source]
        if prod(source.shape[1:]) == 1 or all(isinstance(r, WeightLayer) for r in self._readers_of(layer.name)):
            return source
        problem = f"{source.shape} is flattened, but read by more than linear layers"
        raise CompileError([Finding(layer.name, problem, "put a linear layer after the flattening")])

    # ---------------------------------------------------------------------------- helpers

    def _population(self, name: str, current: _Current, dynamics: FoldedRelay | FoldedFiring | FoldedSigmoid) -> str:
        gate = None
        if current.gate is not None:
            assert current.gate_bias is not None
            gate = FoldedGate(current.gate, current.gate_bias)
        self.nodes.append(FoldedPopulation(name, current.shape, current.ports, current.bias, dynamics, gate))
        self.populations.add(name)
        return name

    def _as_message(self, name: str) -> str:
        """The population that sends the value of layer `name`; a relay is made for it if there is none."""
        layer, current = self.layers[name], self.currents[name]
        if isinstance(layer, FlattenLayer):
            return self._as_message(layer.source)
        if current.message is not None and current.message in self.populations:
            return current.message
        relay = self._population(self._new_name(name), current, FoldedRelay())
        self.currents[name] = _message(relay, current.shape)
        return relay

    def _readout(self) -> tuple[str, Array, Array]:
        """The synapse whose accumulator gives the logits; anything else is brought into that form."""
        current = self.currents[self.graph.output]
        ports = current.ports
        constant = all(array.shape[0] == 1 for array in (current.bias, *(p.gain for p in ports)))
        direct = len(ports) == 1 and ports[0].source not in self.populations and current.gate is None
        if direct and constant and len(current.shape) == 1 and self.readers[self.graph.output] == 1:
            return ports[0].source, ports[0].gain[0], current.bias[0]
        message = self._as_message(self.graph.output)
        classes = prod(current.shape)
        name = self._new_name("logits")
        self.nodes.append(FoldedSynapse(name, (classes,), message, Linear(np.eye(classes), 2)))
        return name, np.ones(1), np.zeros(1)

    def _readers_of(self, name: str) -> list[Layer]:
        return [layer for layer in self.graph.layers if name in _sources(layer)]

    def _new_name(self, wanted: str) -> str:
        """`wanted`, or `wanted.relay`, `wanted.relay2` ... where a synapse already has that name."""
        name, count = wanted, 1
        while name in self.names:
            name = f"{wanted}.relay" if count == 1 else f"{wanted}.relay{count}"
            count += 1
        self.names.add(name)
        return name


def _message(name: str, shape: Shape) -> _Current:
    return _Current(shape, (FoldedPort(name, np.ones((1, 1))),), np.zeros((1, 1)))


def _affine(current: _Current, gain: Array, offset: Array) -> _Current:
    """gain * current + offset. Behind a gate the offset must not be scaled by it."""
    ports = tuple(FoldedPort(p.source, p.gain * gain) for p in current.ports)
    if current.gate is None:
        return replace(current, ports=ports, bias=current.bias * gain + offset)
    assert current.gate_bias is not None
    return replace(current, ports=ports, bias=current.bias * gain, gate_bias=current.gate_bias * gain + offset)


def _row(values: Array) -> Array:
    """(C,) as (1, C), or (1, 1) when all channels agree."""
    row = values.reshape(1, -1)
    return row[:, :1].copy() if np.all(row == row[0, 0]) else row


def _sources(layer: Layer) -> tuple[str, ...]:
    match layer:
        case InputLayer():
            return ()
        case SumLayer() | ConcatLayer():
            return layer.sources
        case AttentionLayer():
            return (layer.source, layer.pooled_from)
        case _:
            return (layer.source,)


def _count_readers(graph: LayerGraph) -> Counter[str]:
    """How many layers read each layer; the output counts as a reader."""
    readers = Counter(source for layer in graph.layers for source in _sources(layer))
    readers[graph.output] += 1
    return readers
