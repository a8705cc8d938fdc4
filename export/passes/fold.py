"""Fold every normalisation into ports: from layers to the canonical form in which synapses and populations alternate.

The membrane normalisation folds as in eq. 6-7, with the reset left unchanged: with
a_t = alpha_t + gamma beta_t / sqrt(var_t + eps) and o_t = beta_t (gamma mu_t / sqrt(var_t + eps) - shift),
the leak becomes a lambda, the current a I - o, the threshold stays. An ordinary BatchNorm after a convolution,
I = g acc + h, makes the port's gain a g and the bias a h - o.

A current that has several readers, or that a synapse reads, becomes a relay population of its own: on a chip an
accumulator belongs to one population. What such a current feeds therefore never duplicates a convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from msgspec import structs

from hmdf.sim.contract import INPUT, ChannelConv, Conv2d, Linear, Op, Shape, SumPool
from hmdf.sim.finding import Finding

from ..errors import CompileError
from ..graph import (
    Array,
    AttentionLayer,
    BeforeLayer,
    ConcatLayer,
    FiringLayer,
    FlattenLayer,
    FloatDynamics,
    FoldedGate,
    FoldedGraph,
    FoldedNode,
    FoldedPopulation,
    FoldedPort,
    FoldedSynapse,
    InputLayer,
    Layer,
    LayerGraph,
    MembraneNorm,
    NormLayer,
    PoolLayer,
    SliceLayer,
    SumLayer,
    WeightLayer,
)
from ..neurons import FloatRelay, FloatSigmoid

_ZERO, _ONE = np.zeros((1, 1)), np.ones((1, 1))


def fold(graph: LayerGraph) -> FoldedGraph:
    """The canonical form of `graph`; exact up to float64 rounding.

    Raises:
        CompileError: a combination of layers that has no canonical form, with the layer's name.
    """
    names = {INPUT, *(layer.name for layer in graph.layers if isinstance(layer, WeightLayer | FiringLayer))}
    folded = _Folded(graph, {layer.name: layer for layer in graph.layers}, names)
    for layer in graph.layers:
        folded.currents[layer.name] = _CURRENTS[type(layer)](folded, layer)
        shared = len(graph.readers[layer.name]) + (layer.name == graph.output) > 1
        whole = bool(folded.currents[layer.name].ports) or not isinstance(layer, BeforeLayer)
        if shared and whole and not isinstance(layer, FlattenLayer | SliceLayer | ConcatLayer):
            folded.as_message(layer.name)
    synapse, gain, bias = _readout(folded)
    shape = next(layer.shape for layer in graph.layers if isinstance(layer, InputLayer))
    return FoldedGraph(graph.time_steps, shape, tuple(folded.nodes), synapse, gain, bias)


@dataclass(frozen=True)
class _Current:
    """sum of gain * source + bias, perhaps gated: what a population would take in. gains (T or 1, C or 1)."""

    shape: Shape
    ports: tuple[FoldedPort, ...]
    bias: Array = field(default_factory=lambda: _ZERO)
    gate: FoldedGate | None = None

    @property
    def message(self) -> str | None:
        """The node whose message this current is, if it is nothing else."""
        if len(self.ports) == 1 and self.gate is None and not self.bias.any() and np.all(self.ports[0].gain == 1):
            return self.ports[0].source
        return None

    def affine(self, gain: Array, offset: Array) -> _Current:
        """gain * current + offset. Behind a gate the offset must not be scaled by it."""
        ports = tuple(FoldedPort(p.source, p.gain * gain) for p in self.ports)
        if self.gate is None:
            return replace(self, ports=ports, bias=self.bias * gain + offset)
        gate = replace(self.gate, bias=self.gate.bias * gain + offset)
        return replace(self, ports=ports, bias=self.bias * gain, gate=gate)


@dataclass(frozen=True)
class _Folded:
    """The canonical form so far.

    Attributes:
        names: that nodes have or will have.
        currents: what each layer computes.
        populations: names of what sends messages.
    """

    graph: LayerGraph
    layers: Mapping[str, Layer]
    names: set[str]
    nodes: list[FoldedNode] = field(default_factory=list)
    currents: dict[str, _Current] = field(default_factory=dict)
    populations: set[str] = field(default_factory=lambda: {INPUT})

    def synapse(self, name: str, shape: Shape, source: str, op: Op, delay: int = 0) -> FoldedPort:
        """Add a synapse; returns a port that takes it in as it is."""
        self.nodes.append(FoldedSynapse(name, shape, source, op, delay))
        return FoldedPort(name, _ONE)

    def reading(self, name: str, shape: Shape, source: str, op: Op) -> FoldedPort:
        """As `synapse`, from the value of layer `source`."""
        layer = self.layers[source]
        while isinstance(layer, FlattenLayer):
            layer = self.layers[layer.sources[0]]
        if isinstance(layer, BeforeLayer) and not self.currents[layer.name].ports:
            return self.synapse(name, shape, layer.sources[0], op, delay=1)
        return self.synapse(name, shape, self.as_message(source), op)

    def population(self, name: str, current: _Current, dynamics: FloatDynamics) -> _Current:
        """Add a population; returns its message as a current."""
        ports, bias, gate = current.ports, current.bias, current.gate
        self.nodes.append(FoldedPopulation(name, current.shape, ports, bias, dynamics, gate))
        self.populations.add(name)
        return _message(name, current.shape)

    def as_message(self, name: str) -> str:
        """The population that sends the value of layer `name`; a relay is made for it if there is none."""
        layer, current = self.layers[name], self.currents[name]
        if isinstance(layer, FlattenLayer):
            return self.as_message(layer.sources[0])
        if current.message is not None and current.message in self.populations:
            return current.message
        relay = self.new_name(name)
        self.currents[name] = self.population(relay, current, FloatRelay())
        return relay

    def new_name(self, wanted: str) -> str:
        """`wanted`, or `wanted.relay`, `wanted.relay2` ... where a node already has that name."""
        name, count = wanted, 1
        while name in self.names:
            name = f"{wanted}.relay" if count == 1 else f"{wanted}.relay{count}"
            count += 1
        self.names.add(name)
        return name


def _message(name: str, shape: Shape) -> _Current:
    return _Current(shape, (FoldedPort(name, _ONE),))


def _row(values: Array) -> Array:
    """(C,) as (1, C), or (1, 1) when all channels agree; (T, C) as it is."""
    if values.ndim == 2:
        return values
    row = values.reshape(1, -1)
    return row[:, :1].copy() if np.all(row == row[0, 0]) else row


# ------------------------------------------------------------------------------ synapses


def _weights(folded: _Folded, layer: WeightLayer) -> _Current:
    """The layer's synapse; one for each part when it reads a concatenation."""
    source = folded.layers[layer.sources[0]]
    if _reads_parts(layer) and isinstance(source, ConcatLayer):
        ports = _split(folded, layer, source)
    elif _reads_parts(layer) and isinstance(source, SliceLayer):
        whole = folded.currents[source.sources[0]].shape[0]
        message = folded.as_message(source.sources[0])
        ports = [folded.synapse(layer.name, layer.shape, message, _padded(layer, source.start, whole))]
    else:
        ports = [folded.reading(layer.name, layer.shape, source.name, layer.op)]
    gain, bias = _row(layer.scale), _row(layer.bias)
    return _Current(layer.shape, tuple(FoldedPort(port.source, gain) for port in ports), bias)


def _reads_parts(layer: Layer) -> bool:
    return isinstance(layer, WeightLayer) and isinstance(layer.op, Conv2d) and layer.op.groups == 1


def _padded(layer: WeightLayer, start: int, channels: int) -> Op:
    """The op on all channels of what was sliced, with weight 0 for those outside the slice."""
    weight = layer.op.weight
    whole = np.zeros((len(weight), channels, *weight.shape[2:]))
    whole[:, start : start + weight.shape[1]] = weight
    return structs.replace(layer.op, weight=whole, weight_bits=2 if layer.op.weight_bits else 0)


def _split(folded: _Folded, layer: WeightLayer, source: ConcatLayer) -> list[FoldedPort]:
    ports: list[FoldedPort] = []
    start = 0
    for part in source.sources:
        count = folded.currents[part].shape[0]
        op = structs.replace(layer.op, weight=layer.op.weight[:, start : start + count])
        message, name = folded.as_message(part), folded.new_name(f"{layer.name}.part{len(ports)}")
        ports.append(folded.synapse(name, layer.shape, message, op))
        start += count
    return ports


def _pool(folded: _Folded, layer: PoolLayer) -> _Current:
    port = folded.reading(folded.new_name(f"{layer.name}.window"), layer.shape, layer.sources[0], layer.op)
    return _Current(layer.shape, (port,)).affine(np.full((1, 1), layer.factor), _ZERO)


def _before(folded: _Folded, layer: BeforeLayer) -> _Current:
    """A synapse that copies what its source sent at the step before, where it is read by more than synapses."""
    readers = [*folded.graph.readers[layer.name]]
    readers += [inner for r in readers if isinstance(r, FlattenLayer) for inner in folded.graph.readers[r.name]]
    if all(isinstance(reader, WeightLayer | PoolLayer | FlattenLayer) for reader in readers):
        return _Current(layer.shape, ())
    channels = layer.shape[0]
    op: Op = Linear(np.eye(channels), 2)
    if len(layer.shape) == 3:
        op = Conv2d(np.ones((channels, 1, 1, 1)), 1, groups=channels)
    port = folded.synapse(folded.new_name(layer.name), layer.shape, layer.sources[0], op, delay=1)
    return _Current(layer.shape, (port,))


def _rearranged(folded: _Folded, layer: SliceLayer | ConcatLayer) -> _Current:
    """Channel slices and concatenations as 1x1 convolutions with weights 0 and 1."""
    if all(_reads_parts(reader) for reader in folded.graph.readers[layer.name]):
        return _Current(layer.shape, ())  # nobody reads it as a whole
    start = layer.start if isinstance(layer, SliceLayer) else 0
    ports: list[FoldedPort] = []
    offset = 0
    for index, source in enumerate(layer.sources):
        message, shape = folded.as_message(source), folded.currents[source].shape
        weight = np.zeros((layer.shape[0], shape[0]))
        count = min(shape[0], layer.shape[0])
        weight[np.arange(offset, offset + count), np.arange(start, start + count)] = 1
        offset += count
        op: Op = Conv2d(weight[:, :, None, None], 2) if len(shape) == 3 else Linear(weight, 2)
        ports.append(folded.synapse(folded.new_name(f"{layer.name}.part{index}"), layer.shape, message, op))
    return _Current(layer.shape, tuple(ports))


# --------------------------------------------------------------------------- populations


def _firing(folded: _Folded, layer: FiringLayer) -> _Current:
    current, neuron = folded.currents[layer.sources[0]], layer.neuron
    if layer.norm is not None:
        a, o = _coefficients(layer.norm)
        current, neuron = current.affine(a, -o), neuron.normalised(a)  # eq. 7: a I - o, and a lambda
    return folded.population(layer.name, current, neuron)


def _coefficients(norm: MembraneNorm) -> tuple[Array, Array]:
    """a_t and o_t of eq. 6, (T, C): the normalised membrane is a m - o."""
    slope = norm.gamma / np.sqrt(norm.variance + norm.eps)
    a = norm.alpha[:, None] + norm.beta[:, None] * slope
    o = norm.beta[:, None] * (slope * norm.mean - norm.shift)
    return a, o


def _attention(folded: _Folded, layer: AttentionLayer) -> _Current:
    """mean over H, W -> relay -> banded convolution -> sigmoid -> gate of whatever takes the current in (eq. 8, 9)."""
    channels, height, width = layer.shape
    source, pooled_from = layer.sources
    message, pooled = folded.as_message(pooled_from), (channels, 1, 1)
    window = folded.new_name(f"{layer.name}.pool.window")
    total = folded.synapse(window, pooled, message, SumPool((height, width), (height, width)))
    mean = _Current(pooled, (total,)).affine(np.full((1, 1), 1 / (height * width)), _ZERO)
    relay = folded.new_name(f"{layer.name}.pool")
    folded.population(relay, mean, FloatRelay())
    band = ChannelConv(layer.taps, 0, padding=len(layer.taps) // 2)
    port = folded.synapse(folded.new_name(f"{layer.name}.conv"), pooled, relay, band)
    gate = folded.new_name(f"{layer.name}.gate")
    folded.population(gate, _Current(pooled, (port,), np.full((1, 1), layer.bias)), FloatSigmoid())
    current = folded.currents[source]
    if current.gate is not None:
        current = _message(folded.as_message(source), layer.shape)
    return replace(current, gate=FoldedGate(gate, _ZERO))


def _sum(folded: _Folded, layer: SumLayer) -> _Current:
    merged: dict[str, FoldedPort] = {}
    bias = _ZERO
    for source in layer.sources:
        part = folded.currents[source]
        if part.gate is not None:  # it would scale all ports: a gated current is only added as a message
            part = _message(folded.as_message(source), layer.shape)
        for port in part.ports:
            gain = port.gain + merged[port.source].gain if port.source in merged else port.gain
            merged[port.source] = FoldedPort(port.source, gain)
        bias = bias + part.bias
    return _Current(layer.shape, tuple(merged.values()), bias)


def _flatten(folded: _Folded, layer: FlattenLayer) -> _Current:
    """Only a linear layer may follow, which flattens by itself; or (C, 1, 1) -> (C,)."""
    source = folded.currents[layer.sources[0]]
    readers = folded.graph.readers[layer.name]
    if prod(source.shape[1:]) == 1 or all(isinstance(reader, WeightLayer) for reader in readers):
        return source
    problem = f"{source.shape} is flattened, but read by more than linear layers"
    raise CompileError([Finding(layer.name, problem, "put a linear layer after the flattening")])


_CURRENTS: Mapping[type[Layer], Callable[[_Folded, Any], _Current]] = {
    InputLayer: lambda folded, layer: _message(layer.name, layer.shape),
    WeightLayer: _weights,
    PoolLayer: _pool,
    NormLayer: lambda folded, layer: folded.currents[layer.sources[0]].affine(_row(layer.gain), _row(layer.offset)),
    SumLayer: _sum,
    FlattenLayer: _flatten,
    FiringLayer: _firing,
    BeforeLayer: _before,
    AttentionLayer: _attention,
    SliceLayer: _rearranged,
    ConcatLayer: _rearranged,
}


# ------------------------------------------------------------------------------ read-out


def _readout(folded: _Folded) -> tuple[str, Array, Array]:
    """The synapse whose accumulator gives the logits, their gains and biases; what is not of that form is made so."""
    output = folded.graph.output
    current = folded.currents[output]
    ports = current.ports
    constant = all(array.shape[0] == 1 for array in (current.bias, *(p.gain for p in ports)))
    direct = len(ports) == 1 and ports[0].source not in folded.populations and current.gate is None
    if direct and constant and len(current.shape) == 1 and not folded.graph.readers[output]:
        return ports[0].source, ports[0].gain[0], current.bias[0]
    message, classes = folded.as_message(output), prod(current.shape)
    name = folded.new_name("logits")
    folded.synapse(name, (classes,), message, Linear(np.eye(classes), 2))
    return name, np.ones(1), np.zeros(1)
