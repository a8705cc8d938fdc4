"""Range proof: an interval for every register of a Program, by propagating intervals through the graph.

`prove` is sound: no input within the message limits makes any integer leave its interval. It is used to refuse
programs whose accumulators could overflow, to pick 32-bit arithmetic where 32 bits suffice, and to say which clamps
can fire at all.

Intervals are kept per time-step and channel, (T, C), while they travel; membranes follow the recurrence for the T
steps of a sample. What is reported is their hull. How each kind bounds its integers is in `contract/`. A synapse that
reads a later population at the step before is bounded by all that the population's message can hold.
"""

from __future__ import annotations

from functools import reduce
from weakref import WeakKeyDictionary

import msgspec
import numpy as np

from .contract import INPUT, Population, Synapse
from .contract.intervals import Bounds, Interval
from .contract.neurons import NeuronBounds
from .finding import Finding
from .program import Program


class PopulationRange(msgspec.Struct, frozen=True):
    """Registers of one population.

    Attributes:
        products: per port, multiplier * input before its shift.
        current: I before it is limited to the state range.
        membrane: the widest of its states before they are limited, initial ones included; None for dynamics without
            state.
        widest: hull of every intermediate integer, products, gate products and leak * v included.
        message: what is sent.
        state_clamps, message_clamps: whether a clamp of the state (or a table's index), or of the message, can fire.
    """

    products: tuple[Interval, ...]
    current: Interval
    membrane: Interval | None
    widest: Interval
    message: Interval
    state_clamps: bool
    message_clamps: bool


class Ranges(msgspec.Struct, frozen=True):
    """The proof: accumulators by synapse, registers by population, and the read-out's logits."""

    synapses: dict[str, Interval]
    populations: dict[str, PopulationRange]
    logits: Interval


_proofs: WeakKeyDictionary[Program, Ranges] = WeakKeyDictionary()


def prove(program: Program) -> Ranges:
    """Intervals of every accumulator, current, membrane and message for inputs anywhere within the message limits.

    A Program never changes, so its proof is made once and kept as long as it lives.
    """
    if program not in _proofs:
        _proofs[program] = _prove(program)
    return _proofs[program]


def _prove(program: Program) -> Ranges:
    steps = program.time_steps
    low, high = program.input.message.range
    bounds = {INPUT: Bounds.constant(low, high, (steps, program.input.shape[0]))}
    synapses: dict[str, Interval] = {}
    populations: dict[str, PopulationRange] = {}
    for node in program.nodes:
        if isinstance(node, Synapse):
            source = bounds.get(node.source)
            if source is None:  # It comes later, and sends what its message can hold.
                limits = program.message_of(node.source).range
                source = Bounds.constant(*limits, (steps, program.shapes[node.source][0]))
            source = source.a_step_later() if node.delay else source
            bounds[node.name] = node.op.bounds(source, program.shapes[node.source])
            synapses[node.name] = bounds[node.name].hull()
        else:
            bounds[node.name], populations[node.name] = population_bounds(node, bounds, program.state_bits, steps)
    logits = bounds[program.readout.source] + program.readout.bias
    total = Interval(int(logits.low.sum(axis=0).min()), int(logits.high.sum(axis=0).max()))
    return Ranges(synapses, populations, total)


def unproven(program: Program, ranges: Ranges) -> list[Finding]:
    """Why the program is not proven safe, one per register; empty for every program that the compiler writes.

    An accumulator must stay within `accumulator_bits`, every intermediate integer within 63 bits.
    """
    available, limit = program.accumulator_bits, 2 ** (program.accumulator_bits - 1)
    fix = "lower the bits of its sources"
    findings = []
    for name, interval in ranges.synapses.items():
        if interval.low < -limit or interval.high >= limit:
            reach, room = f"{interval.low}..{interval.high}", f"{-limit}..{limit - 1}"
            problem = f"its accumulator spans {reach}, {available} bits hold {room}"
            findings.append(Finding(name, problem, fix, "error", "accumulator_bits", interval.bits, available))
    for name, proof in ranges.populations.items():
        bits = proof.widest.bits
        if bits > 63:
            problem = f"an intermediate integer needs {bits} bits, executors have 63"
            findings.append(Finding(name, problem, fix, "error", "executor_bits", bits, 63))
    return findings


def population_bounds(
    population: Population, bounds: dict[str, Bounds], state_bits: int, steps: int
) -> tuple[Bounds, PopulationRange]:
    """Bounds of a population's message, and all its registers, from the bounds of what its ports and gate read."""
    dynamics = population.dynamics
    states, initial = dynamics.facts.states, population.initial()
    neurons = NeuronBounds(population.shape[0], states, population.message, state_bits, initial)
    sent = [dynamics.bounds(_current(population, t, bounds, neurons), t, neurons) for t in range(steps)]
    stacked = (np.stack(limits).astype(np.int64) for limits in ([s.low for s in sent], [s.high for s in sent]))
    met = neurons.met
    return Bounds(*stacked), PopulationRange(
        products=tuple(met[f"product {i}"] for i in range(len(population.ports))),
        current=met["current"],
        membrane=met.get("membrane"),
        widest=reduce(Interval.hull, met.values()),
        message=met["message"],
        state_clamps=neurons.state_clamps,
        message_clamps=neurons.message_clamps,
    )


def _current(population: Population, t: int, bounds: dict[str, Bounds], neurons: NeuronBounds) -> Bounds:
    bias = neurons.at(t, population.bias)
    total = Bounds(bias, bias)
    for i, port in enumerate(population.ports):
        product = bounds[port.source].at(t).times(neurons.at(t, port.multiplier))
        total = total + neurons.meet(f"product {i}", product).shifted(port.shift)
    gate = population.gate
    if gate is not None:
        product = neurons.meet("gated", total).product(bounds[gate.source].at(t))
        total = neurons.meet("gate product", product).shifted(gate.shift) + neurons.at(t, gate.bias)
    return neurons.limit_state(neurons.meet("current", total))
