"""What a network did on real samples: the plain data that mapping and cost need."""

from __future__ import annotations

from math import prod

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import INPUT
from hmdf.sim.counters import Counters
from hmdf.sim.errors import InputError
from hmdf.sim.program import Program


class EventCounts(msgspec.Struct, frozen=True, eq=False):
    """Events of each sample, summed over its time-steps.

    Attributes:
        measured: whether it was counted on samples, or assumed.
        messages: by population and "input", non-zero messages sent, float64 (N,).
        sops: by synapse, synaptic operations of spikes, float64 (N,).
        macs: by synapse, multiply-accumulates of dense messages, the same for every sample.
    """

    measured: bool
    messages: dict[str, NDArray[np.float64]]
    sops: dict[str, NDArray[np.float64]]
    macs: dict[str, float]

    @property
    def samples(self) -> int:
        return len(self.messages[INPUT])

    @property
    def origin(self) -> str:
        """Where the numbers come from, for the user."""
        if self.measured:
            return f"measured on {self.samples} samples"
        return "assumed: every neuron sends at every time-step (an upper bound; simulate samples for real figures)"


def checked(events: EventCounts | None, program: Program) -> EventCounts:
    """The events themselves, or the assumed ones for None.

    Raises:
        InputError: they were counted on another program.
    """
    if events is None:
        return assumed(program)
    nodes = {INPUT, *(p.name for p in program.populations)}, {s.name for s in program.synapses}
    counted = set(events.messages), set(events.sops)
    for wanted, found in zip(nodes, counted, strict=True):
        if wanted != found:
            odd = min(wanted ^ found)
            where = "is not in the program" if odd in found else "was not counted"
            raise InputError(f"the counters are of another program: '{odd}' {where}")
    return events


def measured(counters: Counters) -> EventCounts:
    """Events from the simulator's counters.

    Raises:
        ValueError: the counters are of no sample.
    """
    if counters.samples < 1:
        raise ValueError("counters of at least one sample are needed (got 0)")
    return EventCounts(
        True,
        {name: np.asarray(p.spikes_per_sample, dtype=np.float64) for name, p in counters.populations.items()},
        {name: np.asarray(s.sops_per_sample, dtype=np.float64) for name, s in counters.synapses.items()},
        {name: float(s.macs) for name, s in counters.synapses.items()},
    )


def assumed(program: Program) -> EventCounts:
    """The upper bound: every neuron sends a non-zero message at every time-step."""
    steps = program.time_steps
    sizes = {INPUT: prod(program.input.shape), **{p.name: prod(p.shape) for p in program.populations}}
    operations = {s.name: float(s.op.fanout(program.shapes[s.source]).sum()) * steps for s in program.synapses}
    spiking = {s.name: program.carries_spikes(s) for s in program.synapses}
    return EventCounts(
        False,
        {name: np.array([float(size * steps)]) for name, size in sizes.items()},
        {name: np.array([count if spiking[name] else 0.0]) for name, count in operations.items()},
        {name: 0.0 if spiking[name] else count for name, count in operations.items()},
    )
