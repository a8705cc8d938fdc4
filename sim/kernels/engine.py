"""Walks the plan: population by population, tile by tile, all time-steps of a tile before the next tile.

A tile is a few pixels x up to LANES channels of one sample, so that its membranes stay in the cache and its weights
are used again at every step. What a port reads is never stored as a whole: the accumulators of a tile are made,
scaled into the tile's currents, and forgotten.
"""

from __future__ import annotations

from . import counting, narrow
from . import plan as p
from . import wide_neurons as wide
from .compiling import compile_entry, digest_of_sources, kernel
from .tiles import LANES, PIXELS, Tile
from .wide_accumulate import accumulate


def _entry(sources: int):
    def run(path, model, arenas, scratch, outcome, samples, counted):
        """Run `samples` samples whose input messages lie in their buffer; the tuples are those of workspace.py."""
        if sources >= 0:  # Always; a value that a function closes over tells apart what is kept of it on disk.
            for index in range(len(model.populations)):
                run_one(path, model, arenas, scratch, outcome, samples, counted, index)

    return compile_entry(run)


@kernel
def run_one(path, model, arenas, scratch, outcome, samples, counted, index):
    """Population number `index`, for all samples."""
    population = model.populations[index]
    saturations = outcome.saturations[index]
    counting.clear(population, samples, outcome.counts)
    for sample in range(samples):
        for p0 in range(0, population.pixels, PIXELS):
            for c0 in range(0, population.channels, LANES):
                lanes = min(LANES, population.channels - c0)
                tile = Tile(sample, p0, min(PIXELS, population.pixels - p0), c0, lanes)
                if index == 0:
                    counting.count_input(population, model, arenas, tile, outcome.counts)
                elif population.narrow:
                    narrow.run_tile(path, population, model, arenas, tile, scratch, outcome, saturations, counted)
                else:
                    _run_wide_tile(population, model, arenas, tile, scratch, outcome, saturations)
    if population.dynamics != p.READOUT:
        counting.tally(population, model, samples, outcome.counts, outcome.spikes[index], outcome.sops)
        counting.repeat_steady_steps(population, saturations)


@kernel
def _run_wide_tile(population, model, arenas, tile, scratch, outcome, saturations):
    scratch.v[:] = 0
    scratch.d[:] = 0
    for t in range(population.steps):
        wide.start(population, model, tile, t, scratch.current)
        for index in range(population.first_port, population.first_port + population.ports):
            port = model.ports[index]
            accumulate(port, model, arenas, tile, t, scratch, population.width)
            wide.add_port(port, model, tile, t, scratch.accumulator, scratch.current)
        if population.dynamics == p.READOUT:
            for c in range(tile.lanes):
                outcome.logits[tile.sample, tile.channel + c] += scratch.current[c]
            continue
        if population.gate >= 0:
            wide.gate(population, model, arenas, tile, t, scratch.current)
        wide.limit_state(model, tile, t, scratch.current, saturations)
        if population.dynamics != p.RELAY:
            wide.fire(population, model, tile, t, scratch, saturations)
        wide.send(population, model, arenas, tile, t, scratch.current, outcome.counts, saturations)


run = _entry(digest_of_sources())
