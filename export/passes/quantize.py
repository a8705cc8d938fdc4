"""Choose the integers: from the folded float graph and calibration statistics to a Program.

Nodes are made in topological order, each with the interval of its registers proven at once, so that every
choice is the finest one that is still safe:

* weights: {-1, +1} and {-1, 0, +1} as they are; full precision to 8 bits, or ternary, one scale per output channel
  (one per tensor for the read-out, whose classes are compared with each other);
* messages and neurons: as each kind's file in `neurons/` says; fewer bits where a reader's accumulator could overflow;
* multipliers are signed 16 bit, with the largest shift for which they fit (`integers.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from hmdf.sim.contract import INPUT, Message, Node, Synapse, WeightedOp
from hmdf.sim.contract.intervals import Bounds
from hmdf.sim.finding import Finding
from hmdf.sim.program import Input, Metadata, Preprocessing, Program, Readout

from ..config import Config
from ..errors import CompileError
from ..graph import Array, FoldedGraph, FoldedSynapse
from ..integers import HEAD_ROOM, Registers, Settled
from .calibrate import Statistics


class Quantized(NamedTuple):
    """The program and what the compiler changed on the way."""

    program: Program
    notes: tuple[Finding, ...]


def quantize(
    graph: FoldedGraph,
    statistics: Statistics,
    *,
    framed: bool,
    preprocessing: Preprocessing,
    registers: Registers | None = None,
    config: Config | None = None,
    metadata: Metadata | None = None,
) -> Quantized:
    """Integers for every weight, scale and state of `graph`.

    Args:
        framed: the input comes as one array per time-step instead of a constant one.

    Raises:
        CompileError: an accumulator that no message width makes safe, or a setting for a population that is not there.
    """
    registers, config = registers or Registers(), config or Config()
    findings = [*_unknown_names(graph, config), *_widened(graph, config), *_dead(graph)]
    weights = {s.name: _integer_weights(s, graph, config) for s in graph.synapses}
    synapses = {name: synapse for name, (synapse, _) in weights.items()}
    scales = {name: scale for name, (_, scale) in weights.items()}
    settled = Settled(graph, statistics, registers, config, synapses, scales)
    source, more = _input(settled, framed, preprocessing)
    findings += more
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, FoldedSynapse):
            settled.accumulate(synapses[node.name])
            nodes.append(synapses[node.name])
        else:
            population, made = node.dynamics.to_integers(node, settled)
            settled.send(node.name, population.message, settled.prove(population)[0])
            nodes.append(population)
            findings += made
    if errors := [finding for finding in findings if finding.severity == "error"]:
        raise CompileError(errors)
    program = Program(
        time_steps=graph.time_steps,
        state_bits=registers.state_bits,
        accumulator_bits=registers.accumulator_bits,
        input=source,
        nodes=tuple(nodes),
        readout=_readout(settled),
        metadata=metadata or Metadata(),
    )
    return Quantized(program, tuple(findings))


def _unknown_names(graph: FoldedGraph, config: Config) -> Iterator[Finding]:
    known = {INPUT, *(population.name for population in graph.populations)}
    for name in set(config.bits) - known:
        problem = f"bits are set for '{name}', which is no population"
        yield Finding(name, problem, f"populations are: {', '.join(sorted(known))}")


# -------------------------------------------------------------------------------- input


def _input(settled: Settled, framed: bool, preprocessing: Preprocessing) -> tuple[Input, list[Finding]]:
    """Settle the input: counts as they are, other values with the LSB for which their range just fits."""
    graph, statistics, config = settled.graph, settled.statistics, settled.config
    low, high = statistics.input_low, statistics.input_high
    findings: list[Finding] = []
    counts = statistics.integral and low >= 0 and preprocessing.divisor == 1
    wanted = config.bits.get(INPUT, config.input_bits)
    if counts:
        wanted = max(wanted, int(high).bit_length())
    if preprocessing.divisor > 1:
        (low, high), findings = _raw_range(statistics, preprocessing)

    def message(bits: int) -> Message:
        if counts and high < 2**bits:
            return Message(bits, False, 1.0)
        top = 2**bits - 1 if low >= 0 else 2 ** (bits - 1) - 1
        return Message(bits, low < 0, max(abs(low), high, 1e-12) / top)

    fitted = settled.fit(INPUT, message, wanted, 2 if low < 0 else 1)
    bounds = Bounds.constant(*fitted.message.range, (graph.time_steps, graph.input_shape[0]))
    settled.send(INPUT, fitted.message, bounds)
    source = Input(graph.input_shape, fitted.message, "frames" if framed else "constant", preprocessing)
    return source, [*findings, *fitted.findings]


def _raw_range(statistics: Statistics, preprocessing: Preprocessing) -> tuple[tuple[float, float], list[Finding]]:
    """The range of normalised inputs: that of raw values 0..divisor, whose extremes calibration samples may not show.

    Where these use less than half of it (0 and 1 in uint8), theirs with head-room: else their low bits are lost.
    """
    low, high = statistics.input_low, statistics.input_high
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    least, most = min(low, float((-mean / std).min())), max(high, float(((1 - mean) / std).max()))
    used = (high - low) / (most - least)
    if used == 0 or used >= 1 / 2:
        return (least, most), []
    problem = (
        f"calibration samples use {used:.2%} of the range of raw values, 0..{preprocessing.divisor:g}: "
        f"its LSB is chosen for {HEAD_ROOM:g} times what they use, more is clipped"
    )
    return (HEAD_ROOM * low, HEAD_ROOM * high), [Finding(INPUT, problem, "", "note")]


# ------------------------------------------------------------------- weights, read-out


def _folds_readout_gain(graph: FoldedGraph) -> bool:
    """Whether the logits' gain goes into the weights: it differs between classes, or is not positive.

    The read-out has one scale for all classes, because they are compared with each other.
    """
    return graph.readout_gain.size > 1 or float(graph.readout_gain[0]) <= 0


def _integer_weights(node: FoldedSynapse, graph: FoldedGraph, config: Config) -> tuple[Synapse, Array]:
    """A synapse with integer weights, and the real value of one unit of them, (1,) or (C_out,)."""
    op = node.op
    if not isinstance(op, WeightedOp):
        return Synapse(node.name, node.source, op, node.delay), np.ones(1)
    weight, bits, scale = op.weight, op.weight_bits, np.ones(1)
    if node.name == graph.readout and _folds_readout_gain(graph):
        weight, bits = weight * graph.readout_gain.reshape(-1, 1), 0
    if bits == 0:
        bits, top = config.weight_bits, 2 ** (config.weight_bits - 1) - 1
        per_channel = weight.ndim > 1 and node.name != graph.readout
        rows = weight.reshape(len(weight), -1) if per_channel else weight.reshape(1, -1)
        if bits == 2:
            ternary, scale = _ternary(rows)
            weight = ternary.reshape(weight.shape)
        else:
            largest = np.abs(rows).max(axis=1)
            scale = np.where(largest > 0, largest, 1.0) / top
            weight = np.rint(weight / scale.reshape(-1, *(1,) * (weight.ndim - 1)))
    quantized = msgspec.structs.replace(op, weight=weight.astype(np.int8), weight_bits=bits)
    return Synapse(node.name, node.source, quantized, node.delay), scale


def _ternary(rows: Array) -> tuple[Array, Array]:
    """{-1, 0, +1} times a scale per row with the least squared error: of the k largest weights of a row, the signs,
    and the mean magnitude as scale, for the k with the largest (sum of magnitudes)^2 / k."""
    magnitude = np.abs(rows)
    order = -np.sort(-magnitude, axis=1)
    sums = np.cumsum(order, axis=1)
    best = np.argmax(sums**2 / np.arange(1, rows.shape[1] + 1), axis=1)[:, None]
    kept = (magnitude >= np.take_along_axis(order, best, axis=1)) & (magnitude > 0)
    scale = (magnitude * kept).sum(axis=1) / np.maximum(kept.sum(axis=1), 1)
    return np.sign(rows) * kept, np.where(scale > 0, scale, 1.0)


def _widened(graph: FoldedGraph, config: Config) -> Iterator[Finding]:
    """Low-bit weights of the read-out that do not stay as they are."""
    op = next(synapse.op for synapse in graph.synapses if synapse.name == graph.readout)
    if isinstance(op, WeightedOp) and op.weight_bits and _folds_readout_gain(graph):
        why = "not positive" if graph.readout_gain.size == 1 else "one per class, and the read-out has one for all"
        problem = f"its {op.weight_bits}-bit weights become {config.weight_bits}-bit: their scale is {why}"
        yield Finding(graph.readout, problem, "train it with scale_per='tensor' to keep them", "note")


def _dead(graph: FoldedGraph) -> Iterator[Finding]:
    """Synapses that carry nothing, as sparse training may leave them."""
    for synapse in graph.synapses:
        if isinstance(synapse.op, WeightedOp) and not np.any(synapse.op.weight):
            problem = f"all its {synapse.op.weight.size:,} weights are 0: nothing that '{synapse.source}' sends counts"
            yield Finding(synapse.name, problem, "train it with a smaller --sparsify", "note")


def _readout(settled: Settled) -> Readout:
    """The bias of each class in units of the accumulator's LSB."""
    graph = settled.graph
    gain = 1.0 if _folds_readout_gain(graph) else float(graph.readout_gain[0])
    scale = float(settled.units[graph.readout][0]) * gain
    bias = np.broadcast_to(graph.readout_bias / scale, (graph.readout_classes,))
    return Readout(graph.readout, np.rint(bias).astype(np.int64), scale)
