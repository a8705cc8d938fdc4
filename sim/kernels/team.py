"""Several threads on one sample: who computes which tiles of a population, and when its messages may be read.

A stage is a population, or a step of one in a loop. Its items are its tiles, in as many stretches as there are threads.
A thread takes the items of its own stretch, then what is left of the others'; at the end of the stage it waits until as
many items are done as there are. So a thread that the system does not run holds nobody up, unless in the middle of an
item; it finds the items of all the stages that it missed taken.

The board has SHARE integers for each counter, so that no two share a cache line: the gate, then for each stage the
items taken of each stretch, and the items done.

What orders the threads: an item's messages, and states kept in a loop, are written by the thread that took it; who
adds to the items done does so after them (release), and who has seen all of them done reads after that (acquire).
A thread takes an item of a stage only after it has seen every earlier stage done, and a stage reads what earlier ones
have written. Vectors and matrix tiles read past their end, perhaps what another thread is writing: these lanes are
not used. Tables are only read; scratch, counts and outcome are each thread's own, added up after the last has ended.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types

from .compiling import intrinsic, kernel
from .tiles import LANES, WEIGHTS_IN_CACHE

SHARE = 16
"""Integers of 64 bits, two cache lines: processors fetch these in pairs."""
PATIENCE = 2000
"""Looks at a counter before another thread may have the processor: a few times what a tile takes."""
FEW_TILES = 4
"""A thread more must have so many in half of the stages: ResNet-18 of width 16 still gains with two, 1.05 to 1.3."""
_GATE, _CLOSED = 2, 1 << 32
"""Counters of who came in and who left, at the board's beginning; what is added to the first one at the end."""
_INT64 = ir.IntType(64)


class Team(NamedTuple):
    """Which of `size` threads this one is, and the address of the board they share."""

    place: int
    size: int
    board: Any


ALONE = Team(0, 1, 0)


class Walk(NamedTuple):
    """The items of a stage: tiles of `blocks` blocks of channels at `places` groups of pixels.

    A stretch has some of the blocks at all places, or all blocks at some of the places; it goes from block to block, or
    from place to place.
    """

    blocks: int
    places: int
    by_channels: bool
    block_by_block: bool


def board_size(stages: int, threads: int) -> int:
    """Integers of a board, all 0 before a run."""
    return (_GATE + stages * (threads + 1)) * SHARE


def most_threads(populations: np.ndarray) -> int:
    """How many threads have FEW_TILES each in half of the populations."""
    tiles = -(-populations["pixels"] // populations["tile_pixels"]) * -(-populations["channels"] // LANES)
    return max(1, int(np.median(tiles)) // FEW_TILES)


# ------------------------------------------------------------------------------ a whole run


@kernel
def enter(team):
    """Whether a thread may take part: not when the first one has already ended the run."""
    return team.place == 0 or add(team.board, 1) < _CLOSED


@kernel
def leave(team):
    """The first thread closes the gate, and stays until those that were let in have left."""
    left = team.board + 8 * SHARE
    if team.place > 0:
        add(left, 1)
    elif team.size > 1:
        _await(left, add(team.board, _CLOSED))


# ---------------------------------------------------------------------------------- items


@kernel
def walk_of(team, population, blocks, places):
    """Each thread has pixels that lie together; channels only where there are too few pixels.

    Weights that the cache cannot hold are walked through once for all pixels, others once for every few pixels.
    """
    return Walk(blocks, places, places < team.size, population.weight_bytes > WEIGHTS_IN_CACHE)


@kernel
def take(team, stage, walk, item):
    """The thread's item after `item`, or its first one after -1; -1 where none is left."""
    count = walk.blocks * walk.places
    if team.size == 1:
        return item + 1 if item + 1 < count else -1
    stretch = team.place if item < 0 else _stretch_of(team, walk, item)
    while True:
        first = _first_of(team, walk, stretch)
        length = _first_of(team, walk, stretch + 1) - first
        counter = _counter(team, stage, stretch)
        if look(counter) < length:
            taken = add(counter, 1)
            if taken < length:
                return first + taken
        stretch = stretch + 1 if stretch + 1 < team.size else 0
        if stretch == team.place:
            return -1


@kernel
def place_and_block(team, walk, item):
    """Which tile an item is."""
    stretch = _stretch_of(team, walk, item)
    first = stretch * _units(walk) // team.size
    share, number = (stretch + 1) * _units(walk) // team.size - first, item - first * _each(walk)
    blocks, places = (share, walk.places) if walk.by_channels else (walk.blocks, share)
    place, block = (number % places, number // places) if walk.block_by_block else (number // blocks, number % blocks)
    return (place, first + block) if walk.by_channels else (first + place, block)


@kernel
def report(team, stage, done):
    """`done` items of a stage are done, and what was written in them may be read."""
    if team.size > 1 and done > 0:
        add(_counter(team, stage, team.size), done)


@kernel
def wait(team, stage, count):
    """Until all items of a stage, `count` of them, are done."""
    if team.size > 1:
        _await(_counter(team, stage, team.size), count)


@kernel
def _await(counter, value):
    looks = 0
    while look(counter) < value:
        looks += 1
        if looks < PATIENCE:
            pause()
        else:
            give_way()


@kernel
def _units(walk):
    """Of which each stretch has a share."""
    return walk.blocks if walk.by_channels else walk.places


@kernel
def _each(walk):
    """Items of a unit."""
    return walk.places if walk.by_channels else walk.blocks


@kernel
def _stretch_of(team, walk, item):
    return ((item // _each(walk) + 1) * team.size - 1) // _units(walk)


@kernel
def _first_of(team, walk, stretch):
    return stretch * _units(walk) // team.size * _each(walk)


@kernel
def _counter(team, stage, number):
    return team.board + 8 * SHARE * (_GATE + stage * (team.size + 1) + number)


# --------------------------------------------------------------------------- instructions


@intrinsic
def look(typing_context, counter):
    """The integer at an address, and with it all that was written before it was."""

    def generate(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], _INT64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def add(typing_context, counter, more):
    """Add to the integer at an address, in one step and after all that was written before; returns what it was."""

    def generate(context, builder, signature, args):
        return builder.atomic_rmw("add", builder.inttoptr(args[0], _INT64.as_pointer()), args[1], "acq_rel")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def pause(typing_context):
    """Leave the core's resources to its other thread for a moment."""

    def generate(context, builder, signature, args):
        target = llvm.get_process_triple()
        if target.startswith(("x86_64", "i686")):
            _call(builder, "llvm.x86.sse2.pause", ir.VoidType())
        elif target.startswith(("aarch64", "arm64")):
            _call(builder, "llvm.aarch64.hint", ir.VoidType(), ir.IntType(32)(1))
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def give_way(typing_context):
    """Let the system run another thread of this processor."""

    def generate(context, builder, signature, args):
        _call(builder, "SwitchToThread" if sys.platform == "win32" else "sched_yield", ir.IntType(32))
        return context.get_dummy_value()

    return types.void(), generate


def _call(builder, name, result, *args):
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [a.type for a in args]), name)
    builder.call(function, args)
