"""Time of a sample: the slowest core of a step, the way of its messages, the barrier; layers work as a pipeline."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import Synapse
from hmdf.sim.program import Program

from ..events import EventCounts
from ..place.layers import ChipLayer, layers_of
from ..place.mapping import Mapping
from ..schema import Cost, Target, triple

_BLOCK = 256
"""Samples whose cores are looked at together."""
_EVENT_TIMES = ("synaptic_op_time", "mac_time", "port_time", "neuron_active_time", "neuron_inactive_time")


class Timing(msgspec.Struct, frozen=True, eq=False):
    """ns. Layers work as a pipeline: each takes the messages of the step before.

    Attributes:
        step: the slowest core, the longest way of a message and the barrier; never less than the target's step.
        sample: from the first input to the last logit, (T + depth - 1) steps.
        period: between two samples in a stream, T steps.
        slowest_core: at the typical constants; None where only the target's step is known.
        bound: what decides the typical step: "core" or "step_time".
        by_sample: time of each sample (N,), at the typical constants and the slowest core of its own mean step.
    """

    step: Cost
    sample: Cost
    period: Cost
    depth: int
    slowest_core: int | None
    bound: str
    by_sample: NDArray[np.float64]


def timing_of(program: Program, target: Target, events: EventCounts, mapping: Mapping) -> Timing | None:
    """Time of a sample; None when the target knows neither the time of its events nor that of a step."""
    costs = target.costs
    known = [getattr(costs, name) is not None for name in (*_EVENT_TIMES, "message_time", "hop_time", "barrier_time")]
    least = costs.step_time or Cost(0, 0, 0)
    if not any(known) and costs.step_time is not None:
        return _pipeline(program, least, np.full(events.samples, least.typical), None, "step_time")
    if not all(known):
        return None
    steps, slowest, by_sample = [], 0, np.zeros(0)
    way = float(mapping.longest_way)
    for which in ("low", "typical", "high"):
        work = _Work(program, target, events, mapping, which)
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
        by_sample=sample * by_sample,
    )


class _Work:
    """ns of work in a mean step. A layer's work is shared among its slices by their neurons, its messages as mapped."""

    def __init__(self, program: Program, target: Target, events: EventCounts, mapping: Mapping, which: str) -> None:
        times = {name: getattr(getattr(target.costs, name), which) for name in (*_EVENT_TIMES, "message_time")}
        layers = layers_of(program)
        rows = {layer.name: row for row, layer in enumerate(layers)}
        self.layers = np.stack([_layer_work(program, layer, events, times) for layer in layers], axis=1)
        sent = [events.messages.get(layer.name, np.zeros(events.samples)) for layer in layers]
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


def _layer_work(
    program: Program, layer: ChipLayer, events: EventCounts, times: dict[str, float]
) -> NDArray[np.float64]:
    """ns of a whole layer over all steps, messages excepted, of each sample (N,)."""
    work = np.zeros(events.samples)
    for edge in layer.edges:
        synapse = program.by_name.get(edge.name)
        if not isinstance(synapse, Synapse):
            work += events.messages[edge.source] * times["port_time"]
            continue
        work += events.sops[edge.name] * times["synaptic_op_time"] + events.macs[edge.name] * times["mac_time"]
    sent = events.messages.get(layer.name, np.zeros(events.samples))  # the read-out sends none
    updates = layer.neurons * program.time_steps
    return work + sent * times["neuron_active_time"] + (updates - sent) * times["neuron_inactive_time"]
