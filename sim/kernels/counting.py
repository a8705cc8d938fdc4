"""Spikes and SOPs from counts of non-zero messages by step, pixel class and channel."""

from __future__ import annotations

import numpy as np

from .compiling import kernel
from .records import buffer_row, consumer_row
from .tiles import count_offset, message_at, message_offset


@kernel
def clear(population, samples, counts):
    """Forget the counts of the population before."""
    for k in range(samples * population.steps * population.class_count * population.count_row):
        counts[k] = 0


@kernel
def count_again(population, model, arenas, tile, counts):
    """Count the non-zero messages of a tile, from where they are kept."""
    buffer = buffer_row(model.buffers, population.buffer)
    for t in range(population.steps):
        for i in range(tile.pixels):
            at = message_offset(population, buffer, model.offsets, tile, t, i)
            count = count_offset(population, model.offsets, tile, t, i)
            for c in range(tile.lanes):
                counts[count + c] += message_at(arenas, buffer.arena, at + c) != 0


@kernel
def tally(population, model, samples, outcome, spikes):
    """Spikes by sample and step, from index `spikes`; SOPs (synapse, sample, step) they cause: counts x fan-out."""
    row, counts, steps = population.count_row, outcome.counts, model.time_steps
    for sample in range(samples):
        for t in range(steps):
            first = (sample * population.steps + (t if population.steps > 1 else 0)) * population.class_count * row
            total = np.int64(0)
            for at in range(first, first + population.class_count * row, row):
                for c in range(population.channels):
                    total += counts[at + c]
            outcome.spikes[spikes + sample * steps + t] = total
            for index in range(population.first_consumer, population.first_consumer + population.consumers):
                consumer = consumer_row(model.consumers, index)
                fanout = consumer.fanout
                operations = np.int64(0)
                # Lanes past the last channel have no fan-out.
                for k in range(population.class_count * row):
                    operations += counts[first + k] * model.fanouts[fanout + k]
                if t + consumer.delay < steps:
                    outcome.sops[(consumer.synapse * samples + sample) * steps + t + consumer.delay] = operations


@kernel
def repeat_steady_steps(population, steps, saturations, first):
    """A population that is the same at every step was computed once, and counts at every step."""
    if population.steps == 1:
        for k in range(2, 2 * steps):
            saturations[first + k] = saturations[first + k - 2]
