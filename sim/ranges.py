"""Range proof: an interval for every register of a Program, by propagating intervals through the graph.

`prove` is sound: no input within the message limits makes any integer leave its interval. It is used to refuse
programs whose accumulators could overflow, to pick 32-bit arithmetic where 32 bits suffice, and to say which clamps
can fire at all.

Intervals are kept per time-step and channel, (T, C), while they travel; membranes follow the recurrence for the T
steps of a sample. What is reported is their hull.
"""

from __future__ import annotations

from math import prod

import msgspec
import numpy as np
from numpy.typing import NDArray

from .arithmetic import bits_needed, clamp, integer_range, rshift
from .nodes import (
    INPUT,
    ChannelConv,
    Conv2d,
    HybridFiring,
    LeakyIntegrateAndFire,
    Linear,
    LookupTable,
    MaxPool,
    MultiHierarchical,
    ParallelFiring,
    Population,
    Relay,
    SumPool,
    Synapse,
)
from .program import Program


class Interval(msgspec.Struct, frozen=True):
    """All integers from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def bits(self) -> int:
        """Width of the smallest two's complement register that holds it."""
        return bits_needed(self.low, self.high)


class PopulationRange(msgspec.Struct, frozen=True):
    """Registers of one population.

    Fields:
        products: per port, multiplier * input before its shift.
        current: I before it is limited to the state range.
        membrane: the widest of m and d before they are limited; None for dynamics without state.
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


def prove(program: Program) -> Ranges:
    """Intervals of every accumulator, current, membrane and message for inputs anywhere within the message limits."""
    steps = program.time_steps
    low, high = program.input.message.range
    bounds = {INPUT: Bounds.constant(low, high, (steps, program.input.shape[0]))}
    synapses: dict[str, Interval] = {}
    populations: dict[str, PopulationRange] = {}
    for node in program.nodes:
        if isinstance(node, Synapse):
            bounds[node.name] = accumulator_bounds(node, bounds[node.source], program.shapes[node.source])
            synapses[node.name] = bounds[node.name].hull()
        else:
            bounds[node.name], populations[node.name] = population_bounds(node, bounds, program.state_bits, steps)
    logits = bounds[program.readout.source] + program.readout.bias
    total = Interval(int(logits.low.sum(axis=0).min()), int(logits.high.sum(axis=0).max()))
    return Ranges(synapses, populations, total)


def unproven(program: Program, ranges: Ranges) -> list[str]:
    """Why the program is not proven safe, a sentence per register; empty for every program that the compiler writes.

    An accumulator must stay within `accumulator_bits`, every intermediate integer within 63 bits.
    """
    limit = 2 ** (program.accumulator_bits - 1)
    reasons = [
        f"the accumulator of '{name}' spans {interval.low}..{interval.high}, {program.accumulator_bits} bits hold "
        f"{-limit}..{limit - 1}"
        for name, interval in ranges.synapses.items()
        if interval.low < -limit or interval.high >= limit
    ]
    return reasons + [
        f"an intermediate integer of '{name}' needs {proof.widest.bits} bits, executors have 63"
        for name, proof in ranges.populations.items()
        if proof.widest.bits > 63
    ]


class Bounds:
    """Lower and upper bounds per step and channel, two int64 arrays (T, C)."""

    def __init__(self, low: NDArray, high: NDArray) -> None:
        self.low, self.high = low, high

    @classmethod
    def constant(cls, low: int, high: int, shape: tuple[int, int]) -> Bounds:
        return cls(np.full(shape, low, dtype=np.int64), np.full(shape, high, dtype=np.int64))

    def __add__(self, other: Bounds | NDArray) -> Bounds:
        if isinstance(other, Bounds):
            return Bounds(self.low + other.low, self.high + other.high)
        return Bounds(self.low + other, self.high + other)

    def times(self, factor: NDArray) -> Bounds:
        return self.product(Bounds(factor, factor))

    def product(self, other: Bounds) -> Bounds:
        corners = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Bounds(np.minimum.reduce(corners), np.maximum.reduce(corners))

    def shifted(self, n: int) -> Bounds:
        return Bounds(rshift(self.low, n), rshift(self.high, n))

    def clamped(self, low: int, high: int) -> Bounds:
        return Bounds(clamp(self.low, low, high), clamp(self.high, low, high))

    def with_zero(self) -> Bounds:
        return Bounds(np.minimum(self.low, 0), np.maximum(self.high, 0))

    def at(self, t: int) -> Bounds:
        return Bounds(self.low[t], self.high[t])

    def hull(self) -> Interval:
        return Interval(int(self.low.min()), int(self.high.max()))


# --------------------------------------------------------------------------- synapses


def accumulator_bounds(synapse: Synapse, source: Bounds, source_shape: tuple[int, ...]) -> Bounds:
    """Bounds of the accumulator per step and output channel, from those of the messages per step and input channel."""
    weight = synapse.weight
    match synapse.op:
        case MaxPool():
            return source
        case SumPool(kernel=kernel, padding=padding):
            inside = source.with_zero() if any(padding) else source
            return Bounds(inside.low * prod(kernel), inside.high * prod(kernel))
    assert weight is not None
    match synapse.op:
        case Linear():
            return _weighted_taps(weight.reshape(len(weight), source_shape[0], -1), source)
        case ChannelConv(padding=centre):
            channels = np.arange(source.low.shape[1])
            columns = channels[None, :] - channels[:, None] + centre
            inside_band = (columns >= 0) & (columns < len(weight))
            band = np.where(inside_band, weight[np.clip(columns, 0, len(weight) - 1)], 0)
            return _weighted_taps(band[:, :, None], source)
        case Conv2d(padding=padding, groups=groups):
            inside = source.with_zero() if any(padding) else source
            grouped = weight.reshape(groups, -1, weight.shape[1], prod(weight.shape[2:]))
            lows, highs = np.split(inside.low, groups, axis=1), np.split(inside.high, groups, axis=1)
            parts = [_weighted_taps(grouped[g], Bounds(lows[g], highs[g])) for g in range(groups)]
            return Bounds(
                np.concatenate([p.low for p in parts], axis=1), np.concatenate([p.high for p in parts], axis=1)
            )


def _weighted_taps(weight: NDArray, source: Bounds) -> Bounds:
    """Bounds of sum w*x for weight (O, I, taps): each tap of an input channel takes its worst value on its own."""
    positive, negative = np.zeros(weight.shape[:2], np.int64), np.zeros(weight.shape[:2], np.int64)
    for tap in range(weight.shape[2]):  # Several times faster than sums along a short last axis.
        weights = np.ascontiguousarray(weight[:, :, tap])
        positive += np.maximum(weights, 0)
        negative += np.minimum(weights, 0)
    # Float64 products are exact here (sums below 2^53, see reference._dot) and use BLAS.
    positive, negative = positive.T.astype(np.float64), negative.T.astype(np.float64)
    low, high = source.low.astype(np.float64), source.high.astype(np.float64)
    return Bounds(
        (low @ positive + high @ negative).astype(np.int64), (high @ positive + low @ negative).astype(np.int64)
    )


# ------------------------------------------------------------------------- populations


def population_bounds(
    population: Population, bounds: dict[str, Bounds], state_bits: int, steps: int
) -> tuple[Bounds, PopulationRange]:
    """Bounds of a population's message, and all its registers, from the bounds of what its ports and gate read."""
    proof = _PopulationProof(population, state_bits, steps)
    return proof.run(bounds), proof.result()


class _PopulationProof:
    """Follows one population through its T steps and remembers the hull of everything it met.

    Works in Python integers (object arrays), since an intermediate of an unproven program may exceed 64 bits.
    """

    def __init__(self, population: Population, state_bits: int, steps: int) -> None:
        self.population = population
        self.steps = steps
        self.limits = integer_range(state_bits, signed=True)
        self.met: dict[str, Interval] = {}
        self.state_clamps = self.message_clamps = False

    def run(self, bounds: dict[str, Bounds]) -> Bounds:
        zero = np.zeros(self.population.shape[0], dtype=object)
        self.v, self.d = Bounds(zero, zero), Bounds(zero, zero)
        sent = [self.step(t, bounds) for t in range(self.steps)]
        return Bounds(
            np.stack([s.low for s in sent]).astype(np.int64), np.stack([s.high for s in sent]).astype(np.int64)
        )

    def result(self) -> PopulationRange:
        ports = range(len(self.population.ports))
        return PopulationRange(
            products=tuple(self.met[f"product {i}"] for i in ports),
            current=self.met["current"],
            membrane=self.met.get("membrane"),
            widest=Interval(min(i.low for i in self.met.values()), max(i.high for i in self.met.values())),
            message=self.met["message"],
            state_clamps=self.state_clamps,
            message_clamps=self.message_clamps,
        )

    def step(self, t: int, bounds: dict[str, Bounds]) -> Bounds:
        current = self.current(t, bounds)
        match self.population.dynamics:
            case Relay():
                return self.message(current)
            case HybridFiring() as n:
                theta = self.at(t, n.threshold)
                m = self.leaky(t, n.leak, n.leak_shift, current)
                self.v = Bounds(np.minimum(m.low, theta), np.minimum(m.high, theta))
                return self.message(self.above(m, theta).shifted(n.spike_shift))
            case ParallelFiring() as n:
                return self.message(self.above(current, self.at(t, n.threshold)).shifted(n.spike_shift))
            case LeakyIntegrateAndFire() as n:
                return self.fire(self.leaky(t, n.leak, n.leak_shift, current), self.at(t, n.threshold))
            case MultiHierarchical() as n:
                leak, shift = self.scaled, n.leak_shift
                self.d = self.state(
                    leak(self.d, t, n.dendrite_leak, shift) + leak(self.v, t, n.dendrite_feedback, shift) + current
                )
                m = self.state(leak(self.v, t, n.soma_leak, shift) + leak(self.d, t, n.soma_drive, shift))
                return self.fire(m, self.at(t, n.threshold))
            case LookupTable() as n:
                index = current.shifted(n.index_shift)
                hull = index.hull()
                self.state_clamps |= hull.low < -128 or hull.high > 127
                index = index.clamped(-128, 127)
                spans = [n.table[a + 128 : b + 129] for a, b in zip(index.low, index.high, strict=True)]
                low = np.array([int(s.min()) for s in spans], dtype=object)
                return self.message(Bounds(low, np.array([int(s.max()) for s in spans], dtype=object)))

    def current(self, t: int, bounds: dict[str, Bounds]) -> Bounds:
        p = self.population
        bias = self.at(t, p.bias)
        total = Bounds(bias, bias)
        for i, port in enumerate(p.ports):
            source = bounds[port.source].at(t)
            objects = Bounds(source.low.astype(object), source.high.astype(object))
            product = self.meet(f"product {i}", objects.times(self.at(t, port.multiplier)))
            total = total + product.shifted(port.shift)
        if p.gate is not None:
            self.meet("gated", total)
            gate = bounds[p.gate.source].at(t)
            product = total.product(Bounds(gate.low.astype(object), gate.high.astype(object)))
            total = self.meet("gate product", product).shifted(p.gate.shift) + self.at(t, p.gate.bias)
        self.meet("current", total)
        return self.limit(total)

    def leaky(self, t: int, leak: NDArray, shift: int, current: Bounds) -> Bounds:
        return self.state(self.scaled(self.v, t, leak, shift) + current)

    def scaled(self, state: Bounds, t: int, leak: NDArray, shift: int) -> Bounds:
        return self.meet("leak", state.times(self.at(t, leak))).shifted(shift)

    def above(self, m: Bounds, theta: NDArray) -> Bounds:
        above = self.meet("above", Bounds(m.low - theta, m.high - theta))
        return Bounds(np.maximum(above.low, 0), np.maximum(above.high, 0))

    def fire(self, m: Bounds, theta: NDArray) -> Bounds:
        """y = [m >= theta], v <- m - y * theta: the hull of the firing and of the silent part of m's interval."""
        fires, silent = m.high >= theta, m.low < theta
        low = np.where(silent, m.low, m.low - theta)
        low = np.where(fires & silent, np.minimum(m.low, 0), low)
        high = np.where(fires, m.high - theta, m.high)
        high = np.where(fires & silent, np.maximum(m.high - theta, theta - 1), high)
        self.v = Bounds(low, high)
        self.meet("reset", self.v)
        return self.message(Bounds((~silent.astype(bool)).astype(object), fires.astype(object)))

    def state(self, x: Bounds) -> Bounds:
        return self.limit(self.meet("membrane", x))

    def limit(self, x: Bounds) -> Bounds:
        hull = x.hull()
        self.state_clamps |= hull.low < self.limits[0] or hull.high > self.limits[1]
        return x.clamped(*self.limits)

    def message(self, x: Bounds) -> Bounds:
        low, high = self.population.message.range
        hull = self.meet("sent", x).hull()
        self.message_clamps |= hull.low < low or hull.high > high
        return self.meet("message", x.clamped(low, high))

    def meet(self, what: str, x: Bounds) -> Bounds:
        """Widen the hull of `what` by x; gives x."""
        hull, before = x.hull(), self.met.get(what)
        if before is not None:
            hull = Interval(min(before.low, hull.low), max(before.high, hull.high))
        self.met[what] = hull
        return x

    def at(self, t: int, parameter: NDArray) -> NDArray:
        """Row t of a (T or 1, C or 1) parameter as Python integers, (C,)."""
        row = parameter[t % len(parameter)].astype(object)
        return np.broadcast_to(row, (self.population.shape[0],))
