"""What the kernels are handed: addresses on the way in, typed pointers inside.

Each class has the same fields as arrays (workspace.py), as addresses and as pointers; `bind` makes the last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .compiling import kernel
from .lanes import address
from .pointers import int8s, int16s, int32s, int64s, uint8s


class Model(NamedTuple):
    """A program's tables (plan.py) and a few of its numbers."""

    buffers: Any
    populations: Any
    ports: Any
    consumers: Any
    parameters: Any
    weights: Any
    offsets: Any
    fanouts: Any
    lookups: Any
    state_low: int
    state_high: int
    time_steps: int
    classes: int
    event_share: float
    event_share_beside_points: float


class Arenas(NamedTuple):
    """Messages of 8, 16 and 32 bits."""

    bytes: Any
    shorts: Any
    words: Any


class Scratch(NamedTuple):
    """What a tile needs while it is computed: PIXELS * LANES integers each, in 64 and in 32 bits, and one patch.

    `events`, `firsts`: the list of a source's non-zero messages, see events.py. `kept`: states of populations in loops.
    `points`, `products`: see winograd.py.
    """

    accumulator: Any
    current: Any
    v: Any
    d: Any
    accumulator32: Any
    current32: Any
    v32: Any
    d32: Any
    patch: Any
    events: Any
    firsts: Any
    kept: Any
    points: Any
    products: Any


class Outcome(NamedTuple):
    """What a block of n samples leaves besides its messages, flat.

    Attributes:
        logits: (n, classes).
        spikes: (1 + populations, n, T).
        saturations: (2 + populations, T, 2); the last row is the read-out's.
        sops: (synapses, n, T).
        by_events: (2 + populations,), samples that a population did event by event.
        counts: non-zero messages of the population at work, by sample, step, pixel class and channel.
    """

    logits: Any
    spikes: Any
    saturations: Any
    sops: Any
    by_events: Any
    counts: Any


@kernel
def with_kept(scratch, first, second):
    """The same scratch with the states v and d at two places of `kept`."""
    v, d = address(scratch.kept, first), address(scratch.kept, second)
    return Scratch(
        scratch.accumulator,
        scratch.current,
        int64s(v),
        int64s(d),
        scratch.accumulator32,
        scratch.current32,
        int32s(v),
        int32s(d),
        scratch.patch,
        scratch.events,
        scratch.firsts,
        scratch.kept,
        scratch.points,
        scratch.products,
    )


@kernel
def bind(model, arenas, scratch, outcome):
    """Pointers from addresses."""
    return (
        Model(
            model.buffers,
            model.populations,
            model.ports,
            model.consumers,
            int32s(model.parameters),
            int8s(model.weights),
            int64s(model.offsets),
            int64s(model.fanouts),
            int32s(model.lookups),
            model.state_low,
            model.state_high,
            model.time_steps,
            model.classes,
            model.event_share,
            model.event_share_beside_points,
        ),
        Arenas(uint8s(arenas.bytes), int16s(arenas.shorts), int32s(arenas.words)),
        Scratch(
            int64s(scratch.accumulator),
            int64s(scratch.current),
            int64s(scratch.v),
            int64s(scratch.d),
            int32s(scratch.accumulator32),
            int32s(scratch.current32),
            int32s(scratch.v32),
            int32s(scratch.d32),
            int32s(scratch.patch),
            int64s(scratch.events),
            int32s(scratch.firsts),
            int64s(scratch.kept),
            uint8s(scratch.points),
            int32s(scratch.products),
        ),
        Outcome(
            int64s(outcome.logits),
            int64s(outcome.spikes),
            int64s(outcome.saturations),
            int64s(outcome.sops),
            int64s(outcome.by_events),
            int32s(outcome.counts),
        ),
    )
