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

from hmdf.sim.contract import Synapse, WeightedOp
from hmdf.sim.program import Program

from ..events import EventCounts, checked
from ..place.compressed import compressed_weights
from ..place.layers import READOUT
from ..place.mapping import Mapping, map_program
from ..schema import PURPOSES, Cost, Fact, Status, Target, triple
from .conventions import is_stem
from .timing import Timing, timing_of

STATUS_ORDER: tuple[Status, ...] = ("published", "derived", "estimate")


class EnergyRow(msgspec.Struct, frozen=True):
    """One kind of event at one node: count x constant = energy.

    Attributes:
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

    Attributes:
        rows: every event that the target knows the cost of.
        total: sum of the rows, None when the target knows no cost at all.
        by_node, by_constant: the same, summed.
        missing: constants that events need and the target does not know; they are in no sum.
        status: the weakest of the constants that weigh in the total.
        spread: of the total over the samples.
    """

    rows: list[EnergyRow]
    total: Cost | None
    by_node: dict[str, Cost]
    by_constant: dict[str, Cost]
    missing: tuple[str, ...]
    status: Status | None
    spread: Spread | None


class Estimate(msgspec.Struct, frozen=True):
    """What a sample costs on a target.

    Attributes:
        memory: bytes by purpose.
        compressed_weights: bytes of the weights without zeros, None where the target has no such form.
        constants: each one used, with its source and status.
    """

    target: str
    origin: str
    samples: int
    cores: int
    chips: int
    energy: Energy
    timing: Timing | None
    memory: dict[str, int]
    compressed_weights: int | None
    constants: list[Fact]


def estimate(
    program: Program, target: Target, events: EventCounts | None = None, mapping: Mapping | None = None
) -> Estimate:
    """Cost of a sample.

    Args:
        events: measured by the simulator; without it, the upper bound that every neuron sends at every step.
        mapping: from `map_program`, made here when not given.

    Raises:
        DoesNotFit: no mapping was given and the program does not fit.
    """
    events = checked(events, program)
    mapping = mapping or map_program(program, target, events)
    timing = timing_of(program, target, events, mapping)
    energy = _energy(program, target, events, mapping, timing)
    used = {row.constant for row in energy.rows}
    return Estimate(
        target=target.name,
        origin=events.origin,
        samples=events.samples,
        cores=mapping.cores,
        chips=mapping.chips,
        energy=energy,
        timing=timing,
        memory={p: sum(s.bytes[p] for s in mapping.slices) for p in PURPOSES},
        compressed_weights=compressed_weights(program, target, mapping),
        constants=[f for f in target.facts if f.key.removeprefix("costs.") in used or f.key.endswith("_time")],
    )


# ------------------------------------------------------------------------------ energy


class _Event(msgspec.Struct, frozen=True, eq=False):
    """`counts`: events of each sample (N,)."""

    node: str
    constant: str
    counts: NDArray[np.float64]


def _energy(program: Program, target: Target, events: EventCounts, mapping: Mapping, timing: Timing | None) -> Energy:
    rows: list[EnergyRow] = []
    missing: list[str] = []
    by_sample = np.zeros(events.samples)
    for event in _events(program, target, events, mapping):
        mean = float(event.counts.mean())
        constant: Cost | None = getattr(target.costs, event.constant)
        if constant is None:
            if mean:
                missing.append(event.constant)
            continue
        energy = Cost(mean * constant.low, mean * constant.typical, mean * constant.high)
        rows.append(EnergyRow(event.node, event.constant, mean, energy, target.fact(f"costs.{event.constant}").status))
        by_sample += event.counts * constant.typical
    power = target.costs.static_power
    if power is None or (timing is None and power.high > 0):
        missing.append("static_power" if power is None else "step_time")
    else:
        time = timing.period if timing is not None else Cost(0, 0, 0)
        spent = [p * t * mapping.chips for p, t in zip(triple(power), triple(time), strict=True)]
        status = target.fact("costs.static_power").status
        rows.append(EnergyRow("chip", "static_power", time.typical * mapping.chips, Cost(*spent), status))
        slow = np.ones(events.samples) if timing is None else timing.by_sample / timing.by_sample.mean()
        by_sample += spent[1] * slow
    total = _sum(rows)
    weighing = [row.status for row in rows if row.energy.high > 0]
    return Energy(
        rows=rows,
        total=total if rows and weighing else None,
        by_node=_grouped(rows, "node"),
        by_constant=_grouped(rows, "constant"),
        missing=tuple(dict.fromkeys(missing)),
        status=max(weighing, key=STATUS_ORDER.index, default=None),
        spread=spread_of(by_sample) if weighing else None,
    )


def _events(program: Program, target: Target, events: EventCounts, mapping: Mapping) -> Iterator[_Event]:
    none = np.zeros(events.samples)
    for synapse in program.synapses:
        spikes, macs = events.sops[synapse.name], none + events.macs[synapse.name]
        if not isinstance(synapse.op, WeightedOp):
            yield _Event(synapse.name, "port_energy", spikes + macs)
        elif program.carries_spikes(synapse):
            yield _Event(synapse.name, "synaptic_op_energy", spikes)
        elif target.costs.stem_mac_energy is not None and is_stem(program, synapse):
            yield _Event(synapse.name, "stem_mac_energy", macs * program.input_steps / program.time_steps)
        else:
            yield _Event(synapse.name, "mac_energy", macs)
    for population in program.populations:
        name = population.name
        direct = [port.source for port in population.ports if not isinstance(program.by_name.get(port.source), Synapse)]
        if population.gate is not None:
            direct.append(population.gate.source)
        if direct:
            yield _Event(name, "port_energy", sum((events.messages[source] for source in direct), start=none))
        sent = events.messages[name]
        yield _Event(name, "neuron_active_energy", sent)
        yield _Event(name, "neuron_inactive_energy", prod(population.shape) * program.time_steps - sent)
    yield _Event(READOUT, "neuron_inactive_energy", none + program.classes * program.time_steps)
    for name, travel in mapping.travel.items():
        if name == READOUT:
            continue
        sent = events.messages[name]
        # Deliveries and hops are means over the samples; within a layer they grow with its messages.
        relative = sent / sent.mean() if sent.mean() else sent
        yield _Event(name, "message_energy", travel.deliveries * relative)
        yield _Event(name, "hop_x_energy", travel.hops_x * relative)
        yield _Event(name, "hop_y_energy", travel.hops_y * relative)


def _sum(rows: list[EnergyRow]) -> Cost:
    return Cost(*(sum(values) for values in zip((0.0, 0.0, 0.0), *(triple(r.energy) for r in rows), strict=True)))


def _grouped(rows: list[EnergyRow], field: str) -> dict[str, Cost]:
    names = dict.fromkeys(getattr(row, field) for row in rows)
    return {name: _sum([row for row in rows if getattr(row, field) == name]) for name in names}


def spread_of(values: NDArray[np.float64]) -> Spread:
    """Of one figure per sample (N,)."""
    return Spread(float(values.mean()), float(values.std()), float(values.min()), float(values.max()))
