"""Spikes and SOPs from counts of non-zero messages by step, pixel class and channel."""

from __future__ import annotations

import numpy as np

from .compiling import kernel
from .tiles import count_offset, message_offset


@kernel
def clear(population, samples, counts):
    """Forget the counts of the population before."""
    counts[: samples * population.steps * population.class_count * population.count_row] = 0


@kernel
def count_input(population, model, arenas, tile, counts):
    """Count the non-zero messages of a tile of the input."""
    buffer = model.buffers[population.buffer]
    for t in range(population.steps):
        for i in range(tile.pixels):
            at = message_offset(population, buffer, model.offsets, tile, t, i)
            count = count_offset(population, model.offsets, tile, t, i)
            for c in range(tile.lanes):
                if buffer.arena == 0:
                    counts[count + c] += arenas[0][at + c] != 0
                elif buffer.arena == 1:
                    counts[count + c] += arenas[1][at + c] != 0
                else:
                    counts[count + c] += arenas[2][at + c] != 0


@kernel
def tally(population, model, samples, counts, spikes, sops):
    """Spikes (sample, step), and SOPs (synapse, sample, step) of the synapses they drive: counts times fan-out."""
    row = population.count_row
    for sample in range(samples):
        for t in range(spikes.shape[1]):
            first = (sample * population.steps + (t if population.steps > 1 else 0)) * population.class_count * row
            total = np.int64(0)
            for at in range(first, first + population.class_count * row, row):
                for c in range(population.channels):
                    total += counts[at + c]
            spikes[sample, t] = total
            for index in range(population.first_consumer, population.first_consumer + population.consumers):
                consumer = model.consumers[index]
                operations = np.int64(0)
                # Lanes past the last channel have no fan-out.
                for k in range(population.class_count * row):
                    operations += counts[first + k] * model.fanouts[consumer.fanout + k]
                sops[consumer.synapse, sample, t] = operations


@kernel
def repeat_steady_steps(population, saturations):
    """A population that is the same at every step was computed once, and counts at every step."""
    if population.steps == 1:
        for t in range(1, len(saturations)):
            saturations[t, 0], saturations[t, 1] = saturations[0, 0], saturations[0, 1]
