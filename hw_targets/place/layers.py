"""A Program as a chip sees it: layers of neurons, and the edges over which messages reach them.

A layer is a population with all synapses that end in it, for that is what shares a core; the read-out is a layer of
one accumulating neuron per class. Shapes are (C, H, W) throughout; a vector of F features is (F, 1, 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import INPUT, Node, Population, Synapse, WeightedOp
from hmdf.sim.program import Program

READOUT = "readout"
Extents = tuple[int, int, int]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class ChipEdge(msgspec.Struct, frozen=True, eq=False):
    """How messages of one source reach the neurons of a layer.

    Attributes:
        name: the synapse, or the source itself for messages taken in without weights.
        source, source_shape: the sending layer, or "input".
        weighted: whether weights are stored; a pool or a direct port stores ones.
        weight_bits: width of the weights, 0 without weights.
        weights_per_channel, weights_fixed: of a shared kernel: stored per output channel of a core, and once.
        first, last: input channels [first, last) that each output channel reads, int64 (C,).
        rows, columns: whether an output row (column) reads an input row (column), (H, H_in) and (W, W_in).
        message_bits: of the source.
        delay: steps that its messages wait for those of a longer path.
    """

    name: str
    source: str
    source_shape: Extents
    weighted: bool
    weight_bits: int
    weights_per_channel: int
    weights_fixed: int
    first: Ints
    last: Ints
    rows: Bools
    columns: Bools
    message_bits: int
    delay: int

    def fan_in(self) -> int:
        """Most synapses that this edge brings to one neuron."""
        reach = int((self.last - self.first).max())
        return reach * int(self.rows.sum(axis=1).max()) * int(self.columns.sum(axis=1).max())

    def fan_out(self) -> int:
        """Most synapses of this edge that start at one source neuron."""
        change = np.zeros(self.source_shape[0] + 1, np.int64)
        np.add.at(change, self.first, 1)
        np.add.at(change, self.last, -1)
        readers = int(change.cumsum().max())
        return readers * int(self.rows.sum(axis=0).max()) * int(self.columns.sum(axis=0).max())


class ChipLayer(msgspec.Struct, frozen=True, eq=False):
    """Neurons that take in the same edges.

    Attributes:
        name: of the population, or "readout".
        shape: (C, H, W).
        edges: everything it listens to.
        state_bits, accumulator_bits: per neuron.
        parameter_bits_per_channel, parameter_bits: of its tables, per channel and once per core.
        depth: steps after the input at which its step t is computed; every edge takes one, which is the delay of a
            synapse that reads the step before.
    """

    name: str
    shape: Extents
    edges: tuple[ChipEdge, ...]
    state_bits: int
    accumulator_bits: int
    parameter_bits_per_channel: int
    parameter_bits: int
    depth: int

    @property
    def neurons(self) -> int:
        return prod(self.shape)


def layers_of(program: Program) -> list[ChipLayer]:
    """The layers in topological order, the read-out last."""
    depths = _depths(program)
    layers = [_layer(program, population, depths) for population in program.populations]
    return [*layers, _readout(program, depths)]


def extents(shape: tuple[int, ...]) -> Extents:
    """(C, H, W) of a population's shape."""
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], shape[1], shape[2])


def late_synapses(program: Program) -> list[Synapse]:
    """Synapses whose messages cannot be back in time: round their loop they pass more edges than their delay allows."""
    depths = _depths(program)
    read = {(port.source, p.name) for p in program.populations for port in p.ports}
    late = {synapse for synapse, reader in read if (s := program.by_name.get(synapse)) and _is_late(s, reader, depths)}
    return [synapse for synapse in program.synapses if synapse.name in late]


def _is_late(node: Node, reader: str, depths: dict[str, int]) -> bool:
    return isinstance(node, Synapse) and bool(node.delay) and depths[reader] < depths[node.source]


def _depths(program: Program) -> dict[str, int]:
    """By layer. Where no depths make every message arrive in time, those of the network without edges that go back."""
    edges = {p.name: [*_sources(program, p)] for p in program.populations}
    order = {name: number for number, name in enumerate([INPUT, *edges])}
    depths = dict.fromkeys(order, 0)
    for round_ in range(2 * len(order)):
        if round_ == len(order):  # They would grow for ever.
            depths = dict.fromkeys(order, 0)
            edges = {name: [e for e in read if order[e[0]] < order[name]] for name, read in edges.items()}
        found = {n: max([1, *(depths[source] + taken for source, taken in read)]) for n, read in edges.items()}
        if found == {name: depths[name] for name in found}:
            break
        depths |= found
    last = _synapse(program, program.readout.source)
    depths[READOUT] = depths[last.source] + 1 - last.delay
    return depths


def _sources(program: Program, population: Population) -> Iterator[tuple[str, int]]:
    """The layers that a population reads, and the steps by which it is later than each of them."""
    for port in population.ports:
        node = program.by_name.get(port.source)
        yield (node.source, 1 - node.delay) if isinstance(node, Synapse) else (port.source, 1)
    if population.gate is not None:
        yield population.gate.source, 1


def _synapse(program: Program, name: str) -> Synapse:
    node = program.by_name[name]
    assert isinstance(node, Synapse)
    return node


def _layer(program: Program, population: Population, depths: dict[str, int]) -> ChipLayer:
    depth = depths[population.name]
    edges = []
    for port in population.ports:
        node = program.by_name.get(port.source)
        if isinstance(node, Synapse):
            waits = max(0, depth - 1 + node.delay - depths[node.source])
            edges.append(_synapse_edge(program, node, extents(population.shape), waits))
        else:
            edges.append(_direct_edge(program, port.source, population.shape, depth - 1 - depths[port.source]))
    if population.gate is not None:
        source = population.gate.source
        edges.append(_direct_edge(program, source, population.shape, depth - 1 - depths[source]))
    per_channel, fixed = _parameter_bits(program, population)
    accumulators = sum(isinstance(program.by_name.get(port.source), Synapse) for port in population.ports)
    return ChipLayer(
        name=population.name,
        shape=extents(population.shape),
        edges=tuple(edges),
        state_bits=len(population.dynamics.facts.states) * program.state_bits,
        accumulator_bits=accumulators * program.accumulator_bits,
        parameter_bits_per_channel=per_channel,
        parameter_bits=fixed,
        depth=depth,
    )


def _readout(program: Program, depths: dict[str, int]) -> ChipLayer:
    """One neuron per class that sums its accumulator and bias over the T steps."""
    synapse = _synapse(program, program.readout.source)
    shape = (program.classes, 1, 1)
    sum_bits = program.accumulator_bits + program.time_steps.bit_length()
    return ChipLayer(
        name=READOUT,
        shape=shape,
        edges=(_synapse_edge(program, synapse, shape, 0),),
        state_bits=sum_bits,
        accumulator_bits=program.accumulator_bits,
        parameter_bits_per_channel=program.accumulator_bits if program.readout.bias.size > 1 else 0,
        parameter_bits=program.accumulator_bits if program.readout.bias.size == 1 else 0,
        depth=depths[READOUT],
    )


def _parameter_bits(program: Program, population: Population) -> tuple[int, int]:
    """Bits of the (T or 1, C or 1) tables per channel, and of what is stored once."""
    per_channel = fixed = 0
    for _, array, kind in population.parameters():
        width = kind.register_bits(program.state_bits)
        if array.shape[1] > 1:
            per_channel += array.shape[0] * width
        else:
            fixed += array.shape[0] * width
    fixed += sum(table.entries for table, _ in population.tables()) * population.message.bits
    return per_channel, fixed


def _synapse_edge(program: Program, synapse: Synapse, shape: Extents, delay: int) -> ChipEdge:
    source, op = extents(program.shapes[synapse.source]), synapse.op
    first, last = op.channels_read(source, shape[0])
    rows, columns = np.ones((1, source[1]), np.bool_), np.ones((1, source[2]), np.bool_)
    if op.window is not None:
        rows, columns = (op.window.reach(axis, source[1 + axis]) for axis in (0, 1))
    weighted = isinstance(op, WeightedOp)
    shared = not isinstance(op, WeightedOp) or op.shared
    return ChipEdge(
        name=synapse.name,
        source=synapse.source,
        source_shape=source,
        weighted=weighted,
        weight_bits=op.weight_bits if isinstance(op, WeightedOp) else 0,
        weights_per_channel=0 if shared else op.taps,
        weights_fixed=op.taps if shared else 0,
        first=first,
        last=last,
        rows=rows,
        columns=columns,
        message_bits=program.message_of(synapse.source).bits,
        delay=delay,
    )


def _direct_edge(program: Program, source: str, shape: tuple[int, ...], delay: int) -> ChipEdge:
    """A port without synapse, position by position, or a gate, one message per channel."""
    channels, height, width = extents(shape)
    source_shape = extents(program.shapes[source])
    same = source_shape[1:] == (height, width)
    return ChipEdge(
        name=source,
        source=source,
        source_shape=source_shape,
        weighted=False,
        weight_bits=0,
        weights_per_channel=0,
        weights_fixed=1,
        first=np.arange(channels),
        last=np.arange(channels) + 1,
        rows=np.eye(height, dtype=np.bool_) if same else np.ones((height, 1), np.bool_),
        columns=np.eye(width, dtype=np.bool_) if same else np.ones((width, 1), np.bool_),
        message_bits=program.message_of(source).bits,
        delay=delay,
    )
