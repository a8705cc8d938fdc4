"""Choose the integers: from the folded float graph and calibration statistics to a Program.

Populations are settled in topological order, each with the interval of its registers proven at once, so that every
choice is the finest one that is still safe:

* weights: {-1, +1} and {-1, 0, +1} as they are; full precision to 8 bits, one scale per output channel (one per
  tensor for the read-out, whose classes are compared with each other);
* messages: spikes keep the LSB and bits of training, else get the LSB of least squared error; currents get 16 bits and
  a range of 1.25 times the largest calibrated value; both get fewer bits where a reader's accumulator could overflow;
* the LSB of a membrane is the spike LSB / 2^spike_shift, with the largest shift (at most 12) for which no clamp of the
  state can fire, if that is at least 6; else the largest with 2 bits of margin over the calibrated values;
* multipliers are signed 16 bit, with the largest shift for which they fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor, isfinite, log2, prod

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import (
    INPUT,
    Dynamics,
    Gate,
    HybridFiring,
    LeakyIntegrateAndFire,
    LookupTable,
    MaxPool,
    Message,
    Node,
    ParallelFiring,
    Population,
    Port,
    Relay,
    SumPool,
    Synapse,
    WeightedOp,
)
from hmdf.sim.contract.intervals import Bounds
from hmdf.sim.finding import Finding
from hmdf.sim.program import Input, Metadata, Preprocessing, Program, Readout
from hmdf.sim.ranges import population_bounds

from ..config import Config
from ..errors import CompileError
from ..graph import (
    Array,
    FoldedFiring,
    FoldedGraph,
    FoldedPopulation,
    FoldedRelay,
    FoldedSigmoid,
    FoldedSynapse,
)
from .calibrate import Statistics, best_lsb

HEAD_ROOM = 1.25
MAX_SPIKE_SHIFT = 12
LEAST_PROVEN_SHIFT = 6
"""Below 64 membrane steps per spike LSB, precision is worth more than a proof that no state can saturate."""
LARGEST_MULTIPLIER = 2**15 - 1
LEAST_LSB = 2.0**-100
"""LSB of a current that is always 0: small beside every other, and far from what a float cannot hold."""
INDEX_SHIFT = 8
"""Fraction bits of a lookup table's current below one table entry, where a multiplier of 16 bits can express them."""


@dataclass(frozen=True)
class Registers:
    """Widths that the target gives: state and accumulator bits; the widest message, and input, that it carries."""

    state_bits: int = 24
    accumulator_bits: int = 24
    message_bits: int = 16
    input_message_bits: int = 16


@dataclass(frozen=True)
class Quantized:
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
    quantizer = _Quantizer(graph, statistics, registers or Registers(), config or Config())
    quantizer.run(_input(graph, statistics, quantizer, framed, preprocessing))
    if quantizer.errors:
        raise CompileError(quantizer.errors)
    assert quantizer.input is not None
    program = Program(
        time_steps=graph.time_steps,
        state_bits=quantizer.registers.state_bits,
        accumulator_bits=quantizer.registers.accumulator_bits,
        input=quantizer.input,
        nodes=tuple(quantizer.nodes),
        readout=quantizer.readout(),
        metadata=metadata or Metadata(),
    )
    return Quantized(program, tuple(quantizer.notes))


def _input(
    graph: FoldedGraph, statistics: Statistics, quantizer: _Quantizer, framed: bool, preprocessing: Preprocessing
) -> Input:
    low, high = statistics.input_low, statistics.input_high
    counts = statistics.integral and low >= 0 and preprocessing.divisor == 1
    wanted = quantizer.config.bits.get(INPUT, quantizer.config.input_bits)
    if counts:
        wanted = max(wanted, int(high).bit_length())
    if preprocessing.divisor > 1:
        low, high = _raw_range(statistics, quantizer, preprocessing)

    def message(bits: int) -> Message:
        if counts and high < 2**bits:
            return Message(bits, False, 1.0)
        top = 2**bits - 1 if low >= 0 else 2 ** (bits - 1) - 1
        return Message(bits, low < 0, max(abs(low), high, 1e-12) / top)

    least = 2 if low < 0 else 1
    chosen = quantizer.fit(INPUT, message, wanted, least)
    return Input(graph.input_shape, chosen, "frames" if framed else "constant", preprocessing)


def _raw_range(statistics: Statistics, quantizer: _Quantizer, preprocessing: Preprocessing) -> tuple[float, float]:
    """The range of normalised inputs: that of raw values 0..divisor, whose extremes calibration samples may not show.

    Where these use less than half of it (0 and 1 in uint8), theirs with head-room: else their low bits are lost.
    """
    low, high = statistics.input_low, statistics.input_high
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    least, most = min(low, float((-mean / std).min())), max(high, float(((1 - mean) / std).max()))
    used = (high - low) / (most - least)
    if used == 0 or used >= 1 / 2:
        return least, most
    problem = (
        f"calibration samples use {used:.2%} of the range of raw values, 0..{preprocessing.divisor:g}: "
        f"its LSB is chosen for {HEAD_ROOM:g} times what they use, more is clipped"
    )
    quantizer.notes.append(Finding(INPUT, problem, "", "note"))
    return HEAD_ROOM * low, HEAD_ROOM * high


class _Quantizer:
    def __init__(self, graph: FoldedGraph, statistics: Statistics, registers: Registers, config: Config) -> None:
        self.graph, self.statistics, self.registers, self.config = graph, statistics, registers, config
        self.notes: list[Finding] = []
        self.errors: list[Finding] = []
        self.nodes: list[Node] = []
        self.input: Input | None = None
        self.messages: dict[str, Message] = {}
        self.bounds: dict[str, Bounds] = {}
        self.units: dict[str, Array] = {}
        self.synapses: dict[str, Synapse] = {}
        self.weight_scales: dict[str, Array] = {}
        self.shapes = {INPUT: graph.input_shape} | {node.name: node.shape for node in graph.nodes}
        self._check_names()
        for node in graph.nodes:
            if isinstance(node, FoldedSynapse):
                self._weights(node)

    def run(self, input_: Input) -> None:
        self.input = input_
        self._sends(INPUT, input_.message)
        low, high = input_.message.range
        self.bounds[INPUT] = Bounds.constant(low, high, (self.graph.time_steps, input_.shape[0]))
        for node in self.graph.nodes:
            if isinstance(node, FoldedSynapse):
                synapse = self.synapses[node.name]
                self.nodes.append(synapse)
                self.bounds[node.name] = synapse.op.bounds(self.bounds[node.source], self.shapes[node.source])
                self.units[node.name] = self.weight_scales[node.name] * self.messages[node.source].scale
            else:
                population = self._population(node)
                self.nodes.append(population)
                self._sends(node.name, population.message)

    def readout(self) -> Readout:
        """The bias of each class in units of the accumulator's LSB."""
        graph = self.graph
        gain = 1.0 if self._folds_readout_gain() else float(graph.readout_gain[0])
        scale = float(self.units[graph.readout][0]) * gain
        bias = np.broadcast_to(graph.readout_bias / scale, (graph.readout_classes,))
        return Readout(graph.readout, np.rint(bias).astype(np.int64), scale)

    def _sends(self, name: str, message: Message) -> None:
        self.messages[name] = message
        self.units[name] = np.array([message.scale])

    def _check_names(self) -> None:
        known = {INPUT} | {n.name for n in self.graph.nodes if isinstance(n, FoldedPopulation)}
        for name in set(self.config.bits) - known:
            problem = f"bits are set for '{name}', which is no population"
            self.errors.append(Finding(name, problem, f"populations are: {', '.join(sorted(known))}"))

    # --------------------------------------------------------------------------- synapses

    def _folds_readout_gain(self) -> bool:
        """Whether the logits' gain goes into the weights: it differs between classes, or is not positive."""
        return self.graph.readout_gain.size > 1 or float(self.graph.readout_gain[0]) <= 0

    def _weights(self, node: FoldedSynapse) -> None:
        """Integer weights and the real value of one unit, (1,) or (C_out,)."""
        op, scale = node.op, np.ones(1)
        if not isinstance(op, WeightedOp):
            self.synapses[node.name] = Synapse(node.name, node.source, op)
            self.weight_scales[node.name] = scale
            return
        weight, bits = op.weight, op.weight_bits
        if node.name == self.graph.readout and self._folds_readout_gain():
            # Classes are compared with each other: one scale for all, so the gain goes into the weights.
            weight, bits = weight * self.graph.readout_gain.reshape(-1, 1), 0
        if bits == 0:
            bits, top = self.config.weight_bits, 2 ** (self.config.weight_bits - 1) - 1
            per_channel = weight.ndim > 1 and node.name != self.graph.readout
            largest = np.abs(weight).reshape(len(weight), -1).max(axis=1) if per_channel else np.abs(weight).max()
            scale = np.atleast_1d(np.where(largest > 0, largest, 1.0)) / top
            weight = np.rint(weight / scale.reshape(-1, *(1,) * (weight.ndim - 1)))
        quantized = msgspec.structs.replace(op, weight=weight.astype(np.int8), weight_bits=bits)
        self.synapses[node.name] = Synapse(node.name, node.source, quantized)
        self.weight_scales[node.name] = scale

    def fit(self, name: str, message: Callable[[int], Message], wanted: int, least: int) -> Message:
        """The message with the most bits, up to `wanted`, for which every reader's accumulator is provably safe."""
        if wanted < least:
            problem = f"its message is set to {wanted} bit, but it has a sign and needs {least}"
            self.errors.append(Finding(name, problem, f"set {least} bits or more"))
            return message(least)
        carried = self.registers.input_message_bits if name == INPUT else self.registers.message_bits
        asked, wanted = wanted, min(wanted, carried)
        limit = 2 ** (self.registers.accumulator_bits - 1)
        readers = [n for n in self.graph.nodes if isinstance(n, FoldedSynapse) and n.source == name]
        tightest = ""
        for bits in range(wanted, least - 1, -1):
            candidate = message(bits)
            low, high = candidate.range
            bounds = Bounds.constant(low, high, (1, self.shapes[name][0]))
            worst, reader = 0, ""
            for node in readers:
                hull = self.synapses[node.name].op.bounds(bounds, self.shapes[name]).hull()
                if max(-hull.low, hull.high) >= max(worst, limit):
                    worst, reader = max(-hull.low, hull.high), node.name
            if not reader:
                if bits < asked:
                    reason = f"more could overflow the accumulator of {tightest}"
                    if bits == wanted:
                        reason = f"the target carries {wanted}"
                    self.notes.append(
                        Finding(name, f"its message has {bits} bits instead of {asked}: {reason}", "", "note")
                    )
                return candidate
            tightest = (
                f"'{reader}' (up to {worst} with {bits} bits; {self.registers.accumulator_bits} bits hold {limit - 1})"
            )
        problem = f"its accumulator reaches {tightest} for the smallest message of '{name}'; it cannot be proven safe"
        fix = (
            f"reduce the fan-in, use groups or fewer weight bits, or a target with wider accumulators than {limit - 1}"
        )
        bits = self.registers.accumulator_bits
        self.errors.append(Finding(reader, problem, fix, "error", "accumulator_bits", f"over {bits}", bits))
        return message(least)

    # ------------------------------------------------------------------------ populations

    def _population(self, node: FoldedPopulation) -> Population:
        match node.dynamics:
            case FoldedRelay():
                return self._lossless(node) or self._relay(node)
            case FoldedSigmoid():
                return self._sigmoid(node)
            case FoldedFiring():
                return self._firing(node, node.dynamics)

    def _lossless(self, node: FoldedPopulation) -> Population | None:
        """A pool of spikes, passed on with the bits that its sum needs: nothing is rounded."""
        source = self.synapses.get(node.ports[0].source)
        if source is None or not isinstance(source.op, SumPool | MaxPool):
            return None
        before, gain = self.messages[source.source], node.ports[0].gain
        plain = len(node.ports) == 1 and node.gate is None and not node.bias.any() and gain.size == 1
        count = prod(source.op.kernel) if isinstance(source.op, SumPool) else 1
        bits = before.bits if count == 1 else (before.range[1] * count).bit_length()
        if not plain or gain[0, 0] <= 0 or (before.signed and count > 1) or bits > self.config.bits.get(node.name, 16):
            return None
        message = Message(bits, before.signed, before.scale * float(gain[0, 0]))
        if self.fit_silently(node.name, message):
            one, zero = np.ones((1, 1), np.int16), np.zeros((1, 1), np.int32)
            population = Population(node.name, node.shape, (Port(source.name, one, 0),), zero, Relay(), message)
            self._prove(population)
            return population
        return None

    def fit_silently(self, name: str, message: Message) -> bool:
        """Whether the target carries this message as it is, and every reader of it is safe."""
        if message.bits > self.registers.message_bits:
            return False
        notes, errors = len(self.notes), len(self.errors)
        same = self.fit(name, lambda _bits: message, message.bits, message.bits)
        safe = len(self.errors) == errors and same.bits == message.bits
        del self.notes[notes:], self.errors[errors:]
        return safe

    def _relay(self, node: FoldedPopulation) -> Population:
        low, high = self.statistics.low[node.name], self.statistics.high[node.name]
        largest = HEAD_ROOM * max(abs(low), abs(high))
        if largest == 0:
            self.notes.append(Finding(node.name, "its current is 0 on every calibration sample", "", "note"))
        # No LSB is finer than what the largest multiplier can express.
        finest = max(float(np.abs(p.gain * self.units[p.source]).max()) for p in node.ports) / LARGEST_MULTIPLIER
        unsigned = self._never_negative(node)

        def message(bits: int) -> Message:
            top = 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1
            return Message(bits, not unsigned, max(largest / top, finest, LEAST_LSB))

        wanted = self.config.bits.get(node.name, self.config.message_bits)
        chosen = self.fit(node.name, message, wanted, 1 if unsigned else 2)
        population = self._build(node, Relay(), chosen, chosen.scale)
        assert population is not None
        self._prove(population)
        return population

    def _never_negative(self, node: FoldedPopulation) -> bool:
        sources = [self.synapses[p.source].source if p.source in self.synapses else p.source for p in node.ports]
        weights = [self.synapses[p.source].weight for p in node.ports if p.source in self.synapses]
        return (
            not any(self.messages[s].signed for s in sources)
            and all(w is None or bool((w >= 0).all()) for w in weights)
            and all(bool((p.gain >= 0).all()) for p in node.ports)
            and bool((node.bias >= 0).all())
            and node.gate is None
        )

    def _sigmoid(self, node: FoldedPopulation) -> Population:
        """A table of 256 entries over the calibrated range, in a power-of-two raster."""
        bits = self.config.bits.get(node.name, self.config.gate_bits)
        reach = HEAD_ROOM * max(self.statistics.peaks[node.name], 1 / 16)
        raster = 2.0 ** -floor(log2(128 / reach))
        message = Message(bits, False, 2.0**-bits)
        entries = 1 / (1 + np.exp(np.clip(-np.arange(-128, 128) * raster, -700, 700)))
        table = np.clip(np.rint(entries / message.scale), *message.range).astype(np.int64)
        for shift in range(INDEX_SHIFT, -1, -1):
            population = self._build(node, LookupTable(table, shift), message, raster * 2.0**-shift)
            if population is not None:
                break
        else:  # one unit of what it reads crosses the whole table
            population = self._build(node, LookupTable(table, 0), message, np.inf)
            assert population is not None
            self._too_coarse(node)
        self._prove(population)
        return population

    def _firing(self, node: FoldedPopulation, dynamics: FoldedFiring) -> Population:
        message = self._spike(node, dynamics)
        chosen: Population | None = None
        for shift in range(MAX_SPIKE_SHIFT, -1, -1):
            unit = message.scale * 2.0**-shift
            population = self._build(node, self._neuron(node, dynamics, unit, shift), message, unit)
            if population is None:
                continue
            _, proof = population_bounds(population, self.bounds, self.registers.state_bits, self.graph.time_steps)
            if not proof.state_clamps and (chosen is None or shift >= LEAST_PROVEN_SHIFT):
                chosen = population
                break
            if chosen is None and 4 * self.statistics.peaks[node.name] / unit < 2 ** (self.registers.state_bits - 1):
                chosen = population
        if chosen is None:
            self._too_coarse(node)
            chosen = self._build(node, self._neuron(node, dynamics, np.inf, 0), message, np.inf)
            assert chosen is not None
        self._prove(chosen)
        return chosen

    def _spike(self, node: FoldedPopulation, dynamics: FoldedFiring) -> Message:
        if dynamics.kind == "lif":
            return self.fit(node.name, lambda bits: Message(1, False, 1.0), 1, 1)
        trained = dynamics.spike
        if trained is None:
            values = self.statistics.spikes.get(node.name, np.empty(0))
            values = values if values.size else np.ones(1)

            def message(bits: int) -> Message:
                return Message(bits, False, best_lsb(values, bits))

            return self.fit(node.name, message, self.config.bits.get(node.name, self.config.spike_bits), 1)

        def coarser(bits: int) -> Message:
            return Message(bits, False, trained.lsb * 2.0 ** (trained.bits - bits))

        return self.fit(node.name, coarser, self.config.bits.get(node.name, trained.bits), 1)

    def _neuron(self, node: FoldedPopulation, dynamics: FoldedFiring, unit: float, shift: int) -> Dynamics:
        threshold = np.rint(dynamics.threshold / unit).astype(np.int64)
        threshold = np.clip(
            threshold, -(2 ** (self.registers.state_bits - 1)), 2 ** (self.registers.state_bits - 1) - 1
        )
        if dynamics.kind == "parallel":
            return ParallelFiring(threshold, shift)
        leak_shift = _largest_shift(dynamics.leak, 15)
        leak = np.rint(dynamics.leak * 2.0 ** max(leak_shift, 0)).astype(np.int64)
        if leak_shift < 0:
            problem = f"its leak reaches {np.abs(dynamics.leak).max():g}, beyond 16 bits"
            self.errors.append(
                Finding(node.name, problem, "its membrane normalisation has a vanishing variance")
            )
            leak, leak_shift = np.zeros_like(leak), 0
        if dynamics.kind == "lif":
            return LeakyIntegrateAndFire(leak, leak_shift, threshold)
        return HybridFiring(leak, leak_shift, threshold, shift)

    def _build(self, node: FoldedPopulation, dynamics: Dynamics, message: Message, unit: float) -> Population | None:
        """The population with `unit` as the real value of one LSB of its current; None if a multiplier does not fit."""
        ports = []
        for port in node.ports:
            real = port.gain * self.units[port.source][None, :] / unit
            shift = _largest_shift(real, 30)
            if shift < 0:
                return None
            ports.append(Port(port.source, np.rint(real * 2.0**shift).astype(np.int64), shift))
        gate = None
        if node.gate is not None:
            bias = self._state(node.gate.bias / unit)
            gate_message = self.messages[node.gate.source]
            gate = Gate(node.gate.source, gate_message.bits, bias)
        bias = self._state(node.bias / unit)
        return Population(node.name, node.shape, tuple(ports), bias, dynamics, message, gate)

    def _state(self, values: Array) -> NDArray[np.int64]:
        """Rounded half even; what exceeds the 32 bits of a bias is limited to them (the state clamps it anyway)."""
        return np.clip(np.rint(values), -(2**31), 2**31 - 1).astype(np.int64)

    def _prove(self, population: Population) -> None:
        self.bounds[population.name], _ = population_bounds(
            population, self.bounds, self.registers.state_bits, self.graph.time_steps
        )

    def _too_coarse(self, node: FoldedPopulation) -> None:
        peak = self.statistics.peaks[node.name]
        bits = self.registers.state_bits
        problem = f"its current reaches {peak:g}, which {bits} state bits and 16-bit multipliers cannot hold"
        fix = "check the normalisation before it (a vanishing variance?), or calibrate on more samples"
        self.errors.append(Finding(node.name, problem, fix))


def _largest_shift(real: Array, most: int) -> int:
    """Largest n <= most with |round(real * 2^n)| <= 2^15 - 1; -1 if there is none."""
    largest = float(np.abs(real).max())
    if largest == 0:
        return 0
    if not isfinite(largest):
        return -1
    if largest * 2.0**most <= LARGEST_MULTIPLIER:
        return most
    # One more than the quotient says: what is rounded down to the limit fits as well.
    n = min(most, floor(log2(LARGEST_MULTIPLIER / largest)) + 1)
    while n >= 0 and np.rint(largest * 2.0**n) > LARGEST_MULTIPLIER:
        n -= 1
    return max(n, -1)
