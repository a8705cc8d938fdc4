"""Walks the plan: population by population, tile by tile, all time-steps of a tile before the next tile.

A tile is a few pixels x up to LANES channels of one sample, so that its membranes stay in the cache and its weights
are used again at every step. What a port reads is never stored as a whole: the accumulators of a tile are made,
scaled into the tile's currents, and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import amx, counting, events, narrow, wide
from .compiling import compile_entry, digest_of_sources, inlined, kernel
from .memory import bind
from .neurons import READOUT
from .records import population_row
from .tiles import LANES, WEIGHTS_IN_CACHE, Tile


def _entry(sources: int) -> Callable[..., Any]:
    def run(path, model, arenas, scratch, outcome, samples, counted, first, last):
        """Run populations [first, last) for `samples` samples; the tuples are those of memory.py, addresses."""
        if sources >= 0:  # Always; a value that a function closes over tells apart what is kept of it on disk.
            model_, arenas_, scratch_, outcome_ = bind(model, arenas, scratch, outcome)
            for index in range(first, last):
                _run_population(path, model_, arenas_, scratch_, outcome_, samples, counted, index)
            amx.configure(path, 0)

    return compile_entry(run)


@inlined
def _run_population(path, model, arenas, scratch, outcome, samples, counted, index):
    population = population_row(model.populations, index)
    saturations = index * 2 * model.time_steps
    if population.tile_rows > 0:
        amx.configure(path, population.tile_rows)
    if counted:
        counting.clear(population, samples, outcome.counts)
    blocks = -(-population.channels // LANES)
    # Weights that the cache cannot hold are walked through once for all samples, others once for every few pixels.
    outer, inner = (blocks, 1) if population.weight_bytes > WEIGHTS_IN_CACHE else (1, blocks)
    done = np.int64(0)
    for round_ in range(samples + outer):
        # First a round for each sample that is worth doing event by event, then rounds over what is left.
        event_port, first, last = -1, 0, samples
        if round_ < samples:
            if population.narrow:
                event_port = events.port_with_events(population, model, arenas, round_, scratch)
            if event_port < 0:
                continue
            first, last = round_, round_ + 1
        begin, end = (0, blocks) if event_port >= 0 else (inner * (round_ - samples), inner * (round_ - samples + 1))
        for sample in range(first, last):
            if event_port < 0 and done >> sample & 1:
                continue
            for p0 in range(0, population.pixels, population.tile_pixels):
                for block in range(begin, end):
                    tile = _tile(population, sample, p0, block)
                    if index == 0:
                        if counted:
                            counting.count_input(population, model, arenas, tile, outcome.counts)
                    elif population.narrow:
                        narrow.run_tile(
                            path, population, model, arenas, tile, scratch, outcome, saturations, counted, event_port
                        )
                    else:
                        wide.run_tile(population, model, arenas, tile, scratch, outcome, saturations)
        if event_port >= 0:
            done |= 1 << round_
            outcome.by_events[index] += 1
    if counted and population.dynamics != READOUT:
        counting.tally(population, model, samples, outcome, index * samples * model.time_steps)
        counting.repeat_steady_steps(population, model.time_steps, outcome.saturations, saturations)


@kernel
def _tile(population, sample, pixel, block):
    c0, pixels = block * LANES, min(population.tile_pixels, population.pixels - pixel)
    return Tile(sample, pixel, pixels, c0, min(LANES, population.channels - c0))


run = _entry(digest_of_sources())
