"""Energy, time and memory of one sample on a target: events counted on real samples times the target's constants.

Every row of the energy is one kind of event at one node and uses exactly one constant, so a reader can recompute it.
Constants come as low, typical and high and stay three numbers to the end. What a target does not know is named in
`missing` and is in no sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.nodes import Synapse
from hmdf.sim.program import Program

from .activity import Activity, checked
from .layers import READOUT, Layer, layers_of
from .mapping import Mapping, map_program
from .target import PURPOSES, Cost, Fact, Status, Target

STATUS_ORDER: tuple[Status, ...] = ("published", "derived", "estimate")


class Row(msgspec.Struct, frozen=True):
    """One kind of event at one node: count x constant = energy.

    Fields:
        node: synapse, population, "input", "readout" or "chip".
        constant: the target's constant, such as "synaptic_op_energy".
        count: events per sample, mean over the samples; for static_power ns of all chips.
        energy: pJ per sample.
    """

    node: str
    constant: str
    count: float
    energy: Cost
    status: Status


class Spread(msgspec.Struct, frozen=True):
    """A figure over the samples, from the typical constants."""

    mean: float
    std: float
    smallest: float
    largest: float


class Energy(msgspec.Struct, frozen=True):
    """pJ per sample.

    Fields:
        rows: every event that the target knows the cost of.
        total: sum of the rows, None when the target knows no cost at all.
        by_node, by_constant: the same, summed.
        missing: constants that events need and the target does not know; they are in no sum.
        status: the weakest of the constants that weigh in the total.
        spread: of the total over the samples.
    """

    rows: list[Row]
    total: Cost | None
    by_node: dict[str, Cost]
    by_constant: dict[str, Cost]
    missing: tuple[str, ...]
    status: Status | None
    spread: Spread | None


class Timing(msgspec.Struct, frozen=True):
    """ns. Layers work as a pipeline: each takes the messages of the step before.

    Fields:
        step: the slowest core, the longest way of a message and the barrier; never less than the target's step.
        sample: from the first input to the last logit, (T + depth - 1) steps.
        period: between two samples in a stream, T steps.
        slowest_core: at the typical constants; None where only the target's step is known.
        bound: what decides the typical step: "core" or "step_time".
        spread: of the time of a sample over the samples, each at the slowest core of its own mean step.
    """

    step: Cost
    sample: Cost
    period: Cost
    depth: int
    slowest_core: int | None
    bound: str
    spread: Spread


class Estimate(msgspec.Struct, frozen=True):
    """What a sample costs on a target. `constants`: each one used, with its source and status."""

    target: str
    activity: str
    samples: int
    cores: int
    chips: int
    energy: Energy
    timing: Timing | None
    memory: dict[str, int]
    constants: list[Fact]


def estimate(
    program: Program, target: Target, activity: Activity | None = None, mapping: Mapping | None = None
) -> Estimate:
    """Cost of a sample.

    Args:
        activity: measured by the simulator; without it, the upper bound that every neuron sends at every step.
        mapping: from `map_program`, made here when not given.

    Raises:
        DoesNotFit: no mapping was given and the program does not fit.
    """
    activity = checked(activity, program)
    mapping = mapping or map_program(program, target, activity)
    timing = _timing(program, target, activity, mapping)
    energy = _energy(program, target, activity, mapping, timing)
    used = {row.constant for row in energy.rows}
    return Estimate(
        target=target.name,
        activity=activity.origin,
        samples=activity.samples,
        cores=mapping.cores,
        chips=mapping.chips,
        energy=energy,
        timing=timing,
        memory={p: sum(s.bytes[p] for s in mapping.slices) for p in PURPOSES},
        constants=[f for f in target.facts if f.key.removeprefix("costs.") in used or f.key.endswith("_time")],
    )


# ------------------------------------------------------------------------------ energy


class _Event(msgspec.Struct, frozen=True, eq=False):
    """`counts`: events of each sample (N,)."""

    node: str
    constant: str
    counts: NDArray[np.float64]


def _energy(program: Program, target: Target, activity: Activity, mapping: Mapping, timing: Timing | None) -> Energy:
    rows: list[Row] = []
    missing: list[str] = []
    by_sample = np.zeros(activity.samples)
    for event in _events(program, activity, mapping):
        mean = float(event.counts.mean())
        constant: Cost | None = getattr(target.costs, event.constant)
        if constant is None:
            if mean:
                missing.append(event.constant)
            continue
        energy = Cost(mean * constant.low, mean * constant.typical, mean * constant.high)
        rows.append(Row(event.node, event.constant, mean, energy, target.fact(f"costs.{event.constant}").status))
        by_sample += event.counts * constant.typical
    power = target.costs.static_power
    if power is None or (timing is None and power.high > 0):
        missing.append("static_power" if power is None else "step_time")
    else:
        time = timing.period if timing is not None else Cost(0, 0, 0)
        spent = [p * t * mapping.chips for p, t in zip(triple(power), triple(time), strict=True)]
        status = target.fact("costs.static_power").status
        rows.append(Row("chip", "static_power", time.typical * mapping.chips, Cost(*spent), status))
        by_sample += spent[1]
    total = _sum(rows)
    weighing = [row.status for row in rows if row.energy.high > 0]
    return Energy(
        rows=rows,
        total=total if rows and weighing else None,
        by_node=_grouped(rows, "node"),
        by_constant=_grouped(rows, "constant"),
        missing=tuple(dict.fromkeys(missing)),
        status=max(weighing, key=STATUS_ORDER.index, default=None),
        spread=_spread(by_sample) if weighing else None,
    )


def _events(program: Program, activity: Activity, mapping: Mapping) -> Iterator[_Event]:
    none = np.zeros(activity.samples)
    for synapse in program.synapses:
        spikes, macs = activity.sops[synapse.name], none + activity.macs[synapse.name]
        if synapse.weight is None:
            yield _Event(synapse.name, "port_energy", spikes + macs)
        elif program.carries_spikes(synapse):
            yield _Event(synapse.name, "synaptic_op_energy", spikes)
        else:
            yield _Event(synapse.name, "mac_energy", macs)
    for population in program.populations:
        name = population.name
        direct = [port.source for port in population.ports if not isinstance(program.by_name.get(port.source), Synapse)]
        if population.gate is not None:
            direct.append(population.gate.source)
        if direct:
            yield _Event(name, "port_energy", sum((activity.messages[source] for source in direct), start=none))
        sent = activity.messages[name]
        yield _Event(name, "neuron_active_energy", sent)
        yield _Event(name, "neuron_inactive_energy", prod(population.shape) * program.time_steps - sent)
    yield _Event(READOUT, "neuron_inactive_energy", none + program.classes * program.time_steps)
    for name, travel in mapping.travel.items():
        if name == READOUT:
            continue
        sent = activity.messages[name]
        # Deliveries and hops are means over the samples; within a layer they grow with its messages.
        relative = sent / sent.mean() if sent.mean() else sent
        yield _Event(name, "message_energy", travel.deliveries * relative)
        yield _Event(name, "hop_x_energy", travel.hops_x * relative)
        yield _Event(name, "hop_y_energy", travel.hops_y * relative)


def triple(cost: Cost) -> tuple[float, float, float]:
    """Low, typical, high."""
    return cost.low, cost.typical, cost.high


def _sum(rows: list[Row]) -> Cost:
    return Cost(*(sum(values) for values in zip((0.0, 0.0, 0.0), *(triple(r.energy) for r in rows), strict=True)))


def _grouped(rows: list[Row], field: str) -> dict[str, Cost]:
    names = dict.fromkeys(getattr(row, field) for row in rows)
    return {name: _sum([row for row in rows if getattr(row, field) == name]) for name in names}


def _spread(values: NDArray[np.float64]) -> Spread:
    return Spread(float(values.mean()), float(values.std()), float(values.min()), float(values.max()))


# -------------------------------------------------------------------------------- time

_BLOCK = 256
"""Samples whose cores are looked at together."""
_EVENT_TIMES = ("synaptic_op_time", "mac_time", "port_time", "neuron_active_time", "neuron_inactive_time")


def _timing(program: Program, target: Target, activity: Activity, mapping: Mapping) -> Timing | None:
    """None when the target knows neither the time of its events nor that of a step."""
    costs = target.costs
    known = [getattr(costs, name) is not None for name in (*_EVENT_TIMES, "message_time", "hop_time", "barrier_time")]
    least = costs.step_time or Cost(0, 0, 0)
    if not any(known) and costs.step_time is not None:
        return _pipeline(program, least, np.full(activity.samples, least.typical), None, "step_time")
    if not all(known):
        return None
    steps, slowest, by_sample = [], 0, np.zeros(0)
    way = float(mapping.longest_way)
    for which in ("low", "typical", "high"):
        work = _Work(program, target, activity, mapping, which)
        waiting = way * getattr(costs.hop_time, which) + getattr(costs.barrier_time, which)
        load = work.of_cores()
        steps.append(float(load.max()) + waiting)
        if which == "typical":
            slowest = int(load.argmax())
            by_sample = np.maximum(work.of_slowest_core() + waiting, least.typical)
    step = Cost(*(max(a, b) for a, b in zip(steps, triple(least), strict=True)))
    return _pipeline(program, step, by_sample, slowest, "core" if steps[1] >= least.typical else "step_time")


def _pipeline(program: Program, step: Cost, by_sample: NDArray[np.float64], slowest: int | None, bound: str) -> Timing:
    """`by_sample`: ns of the mean step of each sample."""
    depth = layers_of(program)[-1].depth
    sample = program.time_steps + depth - 1
    return Timing(
        step=step,
        sample=Cost(*(sample * s for s in triple(step))),
        period=Cost(*(program.time_steps * s for s in triple(step))),
        depth=depth,
        slowest_core=slowest,
        bound=bound,
        spread=_spread(sample * by_sample),
    )


class _Work:
    """ns of work in a mean step. A layer's work is shared among its slices by their neurons, its messages as mapped."""

    def __init__(self, program: Program, target: Target, activity: Activity, mapping: Mapping, which: str) -> None:
        times = {name: getattr(getattr(target.costs, name), which) for name in (*_EVENT_TIMES, "message_time")}
        layers = layers_of(program)
        rows = {layer.name: row for row, layer in enumerate(layers)}
        self.layers = np.stack([_layer_work(program, layer, activity, times) for layer in layers], axis=1)
        sent = [activity.messages.get(layer.name, np.zeros(activity.samples)) for layer in layers]
        self.messages = np.stack([m / (m.mean() or 1.0) for m in sent], axis=1)
        self.neuron_share = np.zeros((len(layers), len(mapping.core_use)))
        self.message_time = np.zeros_like(self.neuron_share)
        for piece in mapping.slices:
            row = rows[piece.layer]
            self.neuron_share[row, piece.core] += piece.neurons / layers[row].neurons
            self.message_time[row, piece.core] += piece.messages_out * times["message_time"]
        self.steps = program.time_steps

    def of_cores(self) -> NDArray[np.float64]:
        """Of each core, mean over the samples."""
        return self._load(self.layers.mean(axis=0), self.messages.mean(axis=0))

    def of_slowest_core(self) -> NDArray[np.float64]:
        """Of the slowest core of each sample."""
        blocks = range(0, len(self.layers), _BLOCK)
        parts = [slice(start, start + _BLOCK) for start in blocks]
        return np.concatenate([self._load(self.layers[p], self.messages[p]).max(axis=-1) for p in parts])

    def _load(self, layers: NDArray[np.float64], messages: NDArray[np.float64]) -> NDArray[np.float64]:
        return (layers @ self.neuron_share + messages @ self.message_time) / self.steps


def _layer_work(program: Program, layer: Layer, activity: Activity, times: dict[str, float]) -> NDArray[np.float64]:
    """ns of a whole layer over all steps, messages excepted, of each sample (N,)."""
    work = np.zeros(activity.samples)
    for edge in layer.edges:
        synapse = program.by_name.get(edge.name)
        if not isinstance(synapse, Synapse):
            work += activity.messages[edge.source] * times["port_time"]
            continue
        work += activity.sops[edge.name] * times["synaptic_op_time"] + activity.macs[edge.name] * times["mac_time"]
    sent = activity.messages.get(layer.name, np.zeros(activity.samples))  # the read-out sends none
    updates = layer.neurons * program.time_steps
    return work + sent * times["neuron_active_time"] + (updates - sent) * times["neuron_inactive_time"]
