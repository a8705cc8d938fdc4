"""Graded spikes for chips whose messages are binary: each bit of a spike becomes a message of its own. Exact.

A population that sends b bits gets b binary neurons per neuron, one per bit, and every synapse that reads it reads the
bits instead, with its weights shifted: w * y = sum over k of (w * 2^k) * bit_k(y). All bits of a time-step go into one
accumulator before it is scaled and rounded, so every integer downstream stays the same. A chip may send the b messages
of a neuron in the same step, or one after the other in b sub-steps; the sum is the same.

The graded message itself goes no further than to the neuron's own bits (`is_local`), so it never travels.
"""

from __future__ import annotations

import msgspec
import numpy as np

from hmdf.hw_targets.judge.serializable import is_local, obstacle
from hmdf.sim.contract import (
    WEIGHT_RANGES,
    Conv2d,
    Linear,
    LookupTable,
    Message,
    Node,
    Op,
    Population,
    Port,
    Relay,
    SumPool,
    Synapse,
)
from hmdf.sim.program import Program


def serialize(program: Program) -> Program:
    """The same network with binary messages wherever `obstacle` knows no reason against it.

    Every population of the original is still there, under its name and with the same messages; the logits are equal.
    """
    graded = {
        p.name: p
        for p in program.populations
        if p.message.bits > 1 and not is_local(program, p) and obstacle(program, p) is None
    }
    if not graded:
        return program
    nodes: list[Node] = []
    for node in program.nodes:
        if isinstance(node, Synapse):
            nodes.append(_shifted(node, graded[node.source]) if node.source in graded else node)
            continue
        reads = [port.source for port in node.ports if port.source in graded]
        nodes += [_rejoined(graded[name], f"{node.name}.from.{name}") for name in dict.fromkeys(reads)]
        ports = tuple(
            msgspec.structs.replace(p, source=f"{node.name}.from.{p.source}") if p.source in graded else p
            for p in node.ports
        )
        nodes.append(msgspec.structs.replace(node, ports=ports))
        if node.name in graded:
            nodes += _bits(node)
    return msgspec.structs.replace(program, nodes=tuple(nodes))


# --------------------------------------------------------------------------- the bits


def _bits(population: Population) -> list[Node]:
    """The nodes that take a population's messages apart; the last sends bit k of channel c as channel c * bits + k."""
    bits = population.message.bits
    per_table = min(bits, 256 >> bits)
    groups = [range(k, min(k + per_table, bits)) for k in range(0, bits, per_table)]
    if len(groups) == 1:
        return _table(population, groups[0], f"{population.name}.bits")
    nodes: list[Node] = []
    ports = []
    for index, group in enumerate(groups):
        name = f"{population.name}.bits{index}"
        nodes += _table(population, group, name)
        place = np.zeros((bits, len(group)), np.int8)
        place[group, range(len(group))] = 1
        nodes.append(_one_to_one(f"{name}.place", name, population.shape, place))
        ports.append(f"{name}.place")
    nodes.append(
        _population(population, f"{population.name}.bits", bits, tuple(ports), np.zeros((1, 1), np.int32), None)
    )
    return nodes


def _table(population: Population, group: range, name: str) -> list[Node]:
    """Some bits of every neuron by one table: the segment of 2^bits entries of each bit is picked by a bias."""
    bits = population.message.bits
    values = np.arange(1 << bits)
    table = np.zeros(256, np.int32)
    for segment, k in enumerate(group):
        table[(segment << bits) + values] = (values >> k) & 1
    offset = (np.arange(len(group)) << bits) - 128
    copy = _one_to_one(f"{name}.copy", population.name, population.shape, np.ones((len(group), 1), np.int8))
    bias = np.tile(offset, population.shape[0])[None].astype(np.int32)
    return [copy, _population(population, name, len(group), (copy.name,), bias, table)]


def _population(
    origin: Population, name: str, copies: int, sources: tuple[str, ...], bias: np.ndarray, table: np.ndarray | None
) -> Population:
    return Population(
        name=name,
        shape=(origin.shape[0] * copies, *origin.shape[1:]),
        ports=tuple(Port(source, np.ones((1, 1), np.int32), 0) for source in sources),
        bias=bias,
        dynamics=Relay() if table is None else LookupTable(table, 0),
        message=Message(1, False, origin.message.scale),
    )


# ------------------------------------------------------------------------ the synapses


def _shifted(synapse: Synapse, source: Population) -> Synapse:
    """The synapse reading the bits of its source, each weight w as w, 2 w, 4 w ..."""
    bits = source.message.bits
    powers = 1 << np.arange(bits)
    match synapse.op:
        case SumPool(kernel=kernel, stride=stride, padding=padding):
            weight = np.broadcast_to(powers[None, :, None, None], (source.shape[0], bits, *kernel))
            op: Op = Conv2d(*_narrowest(weight), stride, padding, groups=source.shape[0])
        case Linear(weight=weight):
            inner = weight.astype(np.int64).reshape(len(weight), source.shape[0], 1, -1)
            op = Linear(*_narrowest((inner * powers[:, None]).reshape(len(weight), -1)))
        case Conv2d(weight=weight):
            outputs, channels, *kernel_shape = weight.shape
            inner = weight.astype(np.int64)[:, :, None] * powers[:, None, None]
            values, width = _narrowest(inner.reshape(outputs, channels * bits, *kernel_shape))
            op = msgspec.structs.replace(synapse.op, weight=values, weight_bits=width)
        case _:
            raise AssertionError("obstacle() refuses it")
    return Synapse(synapse.name, f"{source.name}.bits", op, synapse.delay)


def _rejoined(source: Population, name: str) -> Synapse:
    """The message itself as an accumulator, for a port that took it in directly."""
    return _one_to_one(name, f"{source.name}.bits", source.shape, (1 << np.arange(source.message.bits))[None])


def _one_to_one(name: str, source: str, shape: tuple[int, ...], block: np.ndarray) -> Synapse:
    """Every channel of a population of `shape` by the same small matrix, (outputs, inputs) per channel."""
    channels = shape[0]
    op: Op = Linear(*_narrowest(np.kron(np.eye(channels, dtype=np.int64), block)))
    if len(shape) != 1:
        op = Conv2d(*_narrowest(np.tile(block, (channels, 1))[:, :, None, None]), groups=channels)
    return Synapse(name, source, op)


def _narrowest(weight: np.ndarray) -> tuple[np.ndarray, int]:
    """A weight with the fewest bits that hold it; 1 bit has no zero."""
    width = 8
    for bits, (low, high) in reversed(WEIGHT_RANGES.items()):
        if weight.min() >= low and weight.max() <= high and (bits > 1 or np.all(weight != 0)):
            width = bits
    return weight.astype(np.int8), width
