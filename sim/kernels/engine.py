"""Walks the plan: population by population, tile by tile, all time-steps of a tile before the next tile.

A tile is a few pixels x up to LANES channels of one sample, so that its membranes stay in the cache and its weights
are used again at every step. What a port reads is never stored as a whole: the accumulators of a tile are made,
scaled into the tile's currents, and forgotten. Populations of a loop go step by step instead, with their states kept.
A thread has blocks of samples of its own; or several threads share out the tiles of one sample (team.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import counting, events, narrow, wide
from .compiling import compile_entry, digest_of_sources, inlined, kernel
from .memory import bind, with_kept
from .neurons import READOUT
from .paths import amx
from .records import population_row
from .team import enter, leave, place_and_block, report, take, wait, walk_of
from .tiles import LANES, Tile


def _entry(sources: int) -> Callable[..., Any]:
    def run(path, model, arenas, scratch, outcome, team, samples, counted, first, last):
        """Run populations [first, last) for `samples` samples, one in a team; tuples of memory.py are addresses."""
        # The first always holds; a value that a function closes over tells apart what is kept of it on disk.
        if sources >= 0 and enter(team):
            model_, arenas_, scratch_, outcome_ = bind(model, arenas, scratch, outcome)
            index, stage = first, 0
            while index < last:
                end = population_row(model_.populations, index).loop_end
                looped, stop = end > 0, max(index, end) + 1
                for t in range(model_.time_steps if looped else 1):
                    for each in range(index, stop):
                        _run_population(
                            path, model_, arenas_, scratch_, outcome_, team, stage, samples, counted, each, looped, t
                        )
                        stage += 1
                if looped and counted:
                    _count_loop(model_, arenas_, outcome_, team, samples, index, stop)
                index = stop
            amx.configure(path, 0)
            leave(team)

    return compile_entry(run)


@inlined
def _run_population(path, model, arenas, scratch, outcome, team, stage, samples, counted, index, looped, t):
    """All steps of a population, or step t of one in a loop: a stage of the team."""
    population = population_row(model.populations, index)
    start, stop = (t, min(t + 1, population.steps)) if looped else (0, population.steps)
    saturations = index * 2 * model.time_steps
    if population.tile_rows > 0:
        amx.configure(path, population.tile_rows)
    if counted and not looped:
        counting.clear(population, samples, outcome.counts)
    blocks = -(-population.channels // LANES)
    tiles = -(-population.pixels // population.tile_pixels)
    by_events, worked = np.int64(0), False
    for round_ in range(samples + 1):
        # First a round for each sample that is worth doing event by event, then one for what is left.
        event_port, first, last = -1, 0, samples
        if round_ < samples:
            if population.narrow and not looped:
                event_port = events.port_with_events(population, model, arenas, round_, scratch)
            if event_port < 0:
                continue
            first, last = round_, round_ + 1
            by_events |= 1 << round_
            if team.place == 0:
                outcome.by_events[index] += 1
        elif by_events == (1 << samples) - 1:
            break
        items = walk_of(team, population, blocks, (last - first) * tiles)
        item, done, before = take(team, stage, items, -1), 0, -1
        while item >= 0:
            place, block = place_and_block(team, items, item)
            sample = first + place // tiles
            if event_port >= 0 or not by_events >> sample & 1:
                tile = _tile(population, sample, place % tiles * population.tile_pixels, block)
                own = _states_of(population, scratch, tile) if looped else scratch
                if index == 0:
                    if counted:
                        counting.count_again(population, model, arenas, tile, outcome.counts)
                elif population.narrow:
                    narrow.run_tile(
                        path, population, model, arenas, tile, own, outcome, saturations, counted, event_port,
                        start, stop, place != before,
                    )  # fmt: skip
                    before = place
                else:
                    wide.run_tile(population, model, arenas, tile, own, outcome, saturations, start, stop)
            done, item = done + 1, take(team, stage, items, item)
        report(team, stage, done)
        worked |= done > 0
    # What is left to do is the thread's own, and done while others are still at work.
    if worked and counted and not looped and population.dynamics != READOUT:
        counting.tally(population, model, samples, outcome, index * samples * model.time_steps)
        counting.repeat_steady_steps(population, model.time_steps, outcome.saturations, saturations)
    wait(team, stage, blocks * tiles)


@kernel
def _count_loop(model, arenas, outcome, team, samples, first, last):
    """What populations [first, last) of a loop have sent, counted one after the other, by the first thread."""
    for index in range(first, last):
        population = population_row(model.populations, index)
        counting.repeat_steady_steps(population, model.time_steps, outcome.saturations, index * 2 * model.time_steps)
        if team.place > 0:
            continue
        counting.clear(population, samples, outcome.counts)
        for sample in range(samples):
            for p0 in range(0, population.pixels, population.tile_pixels):
                for block in range(-(-population.channels // LANES)):
                    tile = _tile(population, sample, p0, block)
                    counting.count_again(population, model, arenas, tile, outcome.counts)
        counting.tally(population, model, samples, outcome, index * samples * model.time_steps)


@kernel
def _states_of(population, scratch, tile):
    """Scratch in which the states are where a population of a loop keeps them for a tile."""
    size = min(population.pixels, population.tile_pixels) * LANES
    number = tile.pixel // population.tile_pixels * -(-population.channels // LANES) + tile.channel // LANES
    at = population.kept + tile.sample * population.kept_sample + 2 * size * number
    return with_kept(scratch, at, at + size)


@kernel
def _tile(population, sample, pixel, block):
    c0, pixels = block * LANES, min(population.tile_pixels, population.pixels - pixel)
    return Tile(sample, pixel, pixels, c0, min(LANES, population.channels - c0))


run = _entry(digest_of_sources())
