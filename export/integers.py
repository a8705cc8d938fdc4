"""Real values to integers: what is known when a population's turn comes, and what all kinds of neurons share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import floor, isfinite, log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import INPUT, Dynamics, Gate, InitialState, Message, Population, Port, Shape, Synapse
from hmdf.sim.contract.intervals import Bounds
from hmdf.sim.finding import Finding
from hmdf.sim.ranges import PopulationRange, population_bounds

from .config import Config
from .graph import Array, FoldedGraph, FoldedPopulation
from .passes.calibrate import Statistics

HEAD_ROOM = 1.25
LARGEST_MULTIPLIER = 2**15 - 1
MOST_PORT_SHIFT = 30


@dataclass(frozen=True)
class Registers:
    """Widths that the target gives: state and accumulator bits; the widest message, and input, that it carries."""

    state_bits: int = 24
    accumulator_bits: int = 24
    message_bits: int = 16
    input_message_bits: int = 16


class ChosenIntegers(NamedTuple):
    """A population in integers, with what had to be changed or cannot be."""

    population: Population
    findings: tuple[Finding, ...] = ()


class Fitted(NamedTuple):
    """A message, with a note where it has fewer bits than were asked for, or an error where no bits are safe."""

    message: Message
    note: Finding | None = None
    error: Finding | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in (self.note, self.error) if finding is not None)


@dataclass(frozen=True)
class Settled:
    """What is settled: all weights; in topological order, the messages; and what is measured and asked for.

    Attributes:
        synapses: by name, with integer weights.
        weight_scales: real value of one unit of a synapse's weights, (1,) or (C_out,).
        messages: of the input and of the populations so far.
        bounds: of messages and accumulators so far.
        units: real value of one unit of these, (1,) or (C,).
    """

    graph: FoldedGraph
    statistics: Statistics
    registers: Registers
    config: Config
    synapses: Mapping[str, Synapse]
    weight_scales: Mapping[str, Array]
    messages: dict[str, Message] = field(default_factory=dict)
    bounds: dict[str, Bounds] = field(default_factory=dict)
    units: dict[str, Array] = field(default_factory=dict)

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        return {INPUT: self.graph.input_shape} | {node.name: node.shape for node in self.graph.nodes}

    def send(self, name: str, message: Message, bounds: Bounds) -> None:
        """Settle the message of a population or of the input."""
        self.messages[name], self.bounds[name], self.units[name] = message, bounds, np.array([message.scale])

    def accumulate(self, synapse: Synapse) -> None:
        """Settle the accumulator of a synapse, whose source is settled, or of binary neurons."""
        source, message = synapse.source, self.message_to(synapse)
        bounds = self.bounds.get(source)
        if bounds is None:
            bounds = Bounds.constant(*message.range, (self.graph.time_steps, self.shapes[source][0]))
        bounds = bounds.a_step_later() if synapse.delay else bounds
        self.bounds[synapse.name] = synapse.op.bounds(bounds, self.shapes[source])
        self.units[synapse.name] = self.weight_scales[synapse.name] * message.scale

    def message_to(self, synapse: Synapse) -> Message:
        """What a synapse reads; known ahead of a later population."""
        if synapse.source in self.messages:
            return self.messages[synapse.source]
        source = self.graph.by_name[synapse.source]
        message = source.dynamics.only_message if isinstance(source, FoldedPopulation) else None
        assert message is not None  # only binary neurons are read at the step before
        return message

    def prove(self, population: Population) -> tuple[Bounds, PopulationRange]:
        """Bounds of a population's message and its registers."""
        return population_bounds(population, self.bounds, self.registers.state_bits, self.graph.time_steps)

    # ------------------------------------------------------------------------ messages

    def fit(self, name: str, message: Callable[[int], Message], wanted: int, least: int) -> Fitted:
        """The message with the most bits, up to `wanted`, for which every reader's accumulator is provably safe."""
        if wanted < least:
            problem = f"its message is set to {wanted} bit, but it has a sign and needs {least}"
            return Fitted(message(least), error=Finding(name, problem, f"set {least} bits or more"))
        registers = self.registers
        carried = min(wanted, registers.input_message_bits if name == INPUT else registers.message_bits)
        reason = f"the target carries {carried}"
        reader, reach = "", 0
        for bits in range(carried, least - 1, -1):
            candidate = message(bits)
            reader, reach = self._overflowing(name, candidate)
            if not reader:
                note = f"its message has {bits} bits instead of {wanted}: {reason}"
                return Fitted(candidate, note=Finding(name, note, "", "note") if bits < wanted else None)
            reason = f"more could overflow the accumulator of {self._reached(reader, reach, bits)}"
        limit, width = 2 ** (registers.accumulator_bits - 1) - 1, registers.accumulator_bits
        problem = (
            f"its accumulator reaches {self._reached(reader, reach, least)} for the smallest message of '{name}'; "
            "it cannot be proven safe"
        )
        fix = f"reduce the fan-in, use groups or fewer weight bits, or a target with wider accumulators than {limit}"
        error = Finding(reader, problem, fix, "error", "accumulator_bits", f"over {width}", width)
        return Fitted(message(least), error=error)

    def _overflowing(self, name: str, message: Message) -> tuple[str, int]:
        """The reader of `name` whose accumulator this message may drive farthest beyond its limit, and how far."""
        bounds = Bounds.constant(*message.range, (1, self.shapes[name][0]))
        worst, most = "", 2 ** (self.registers.accumulator_bits - 1)
        for node in self.graph.readers[name]:
            if (synapse := self.synapses.get(node.name)) is not None:
                hull = synapse.op.bounds(bounds, self.shapes[name]).hull()
                if (reach := max(-hull.low, hull.high)) >= most:
                    worst, most = node.name, reach
        return worst, most

    def _reached(self, reader: str, reach: int, bits: int) -> str:
        width = self.registers.accumulator_bits
        return f"'{reader}' (up to {reach} with {bits} bits; {width} bits hold {2 ** (width - 1) - 1})"

    # --------------------------------------------------------------------- populations

    def build(self, node: FoldedPopulation, dynamics: Dynamics, message: Message, unit: float) -> Population | None:
        """The population with `unit` as the real value of one LSB of its current and states.

        None if a multiplier, or a state before the first step, does not fit.
        """
        ports = []
        for port in node.ports:
            real = port.gain * self.units[port.source][None, :] / unit
            shift = largest_shift(real, MOST_PORT_SHIFT)
            if shift < 0:
                return None
            ports.append(Port(port.source, rounded(real * 2.0**shift), shift))
        gate = None
        if node.gate is not None:
            bits = self.messages[node.gate.source].bits
            gate = Gate(node.gate.source, bits, _bias(node.gate.bias / unit))
        initial = {state: np.rint(value / unit) for state, value in node.dynamics.initial_state().items()}
        if any(np.abs(value).max() >= 2 ** (self.registers.state_bits - 1) for value in initial.values()):
            return None
        states = tuple(InitialState(state, value.astype(np.int64)) for state, value in initial.items())
        return Population(node.name, node.shape, tuple(ports), _bias(node.bias / unit), dynamics, message, gate, states)

    def too_coarse(self, node: FoldedPopulation, dynamics: Dynamics, message: Message) -> ChosenIntegers:
        """A stand-in for a population whose current no unit can hold, with the finding that says so."""
        population = self.build(node, dynamics, message, np.inf)
        assert population is not None  # every multiplier is 0
        peak, width = self.statistics.peaks[node.name], self.registers.state_bits
        problem = (
            f"its current or membrane reaches {peak:g}, which {width} state bits and 16-bit multipliers cannot hold"
        )
        fix = "check the normalisation before it (a vanishing variance?), or calibrate on more samples"
        return ChosenIntegers(population, (Finding(node.name, problem, fix),))


def largest_shift(real: Array, most: int) -> int:
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


def rounded(values: Array) -> NDArray[np.int64]:
    """Half even."""
    return np.rint(values).astype(np.int64)


def _bias(values: Array) -> NDArray[np.int64]:
    """Rounded; what exceeds the 32 bits of a bias is limited to them (the state clamps it anyway)."""
    return np.clip(np.rint(values), -(2**31), 2**31 - 1).astype(np.int64)
