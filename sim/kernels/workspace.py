"""The memory of one thread, or of a team: message arenas and scratch for a block of samples, allocated once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from ..arithmetic import Integers
from ..contract import INPUT
from ..counters import Tally
from ..program import Program
from . import engine, events, winograd
from .layout import aligned_zeros
from .memory import Arenas, Model, Outcome, Scratch
from .paths import amx
from .paths.path import Path
from .plan import Plan
from .records import ARENAS
from .team import Team, board_size
from .tiles import LANES, PIXELS

Memory = TypeVar("Memory", Arenas, Scratch, Outcome)


class Workspace:
    """Runs blocks of up to `samples` samples of one program; one run at a time.

    Args:
        event_share: a convolution goes event by event where no more than this share of its source's quads is not 0;
            by default what is fastest on the path.
    """

    def __init__(
        self, program: Program, plan: Plan, path: Path, samples: int, event_share: float | None = None
    ) -> None:
        self.program, self.plan, self.path, self.samples = program, plan, path, samples
        # Vectors and rows of matrix tiles are read whole, hence elements past the end. Zeroed once: kernels write in
        # the frames only.
        self.arenas = Arenas._make(
            aligned_zeros(size * samples + amx.BYTES, dtype)
            for size, dtype in zip(plan.arena_sizes, ARENAS, strict=True)
        )
        self.at = addresses(self.arenas)
        self.kept = aligned_zeros(plan.kept_size * samples, np.int64)
        self.own = [self._memory_of_a_thread()]
        self.by_events = np.zeros(len(program.populations) + 2, dtype=np.int64)
        self.stages = len(program.populations) + 2
        if plan.kept_size:
            self.stages *= program.time_steps
        self.helpers: ThreadPoolExecutor | None = None
        self.model = Model(
            **{name: _address(table) for name, table in plan.tables._asdict().items()},
            state_low=plan.state_range[0],
            state_high=plan.state_range[1],
            time_steps=program.time_steps,
            classes=program.classes,
            event_share=path.EVENT_SHARE if event_share is None else float(event_share),
            event_share_beside_points=events.WORTHWHILE_BESIDE_POINTS if event_share is None else float(event_share),
        )

    def run(self, messages: np.ndarray, counted: bool = True, threads: int = 1) -> tuple[Integers, Tally]:
        """Logits (n, classes) and raw counts of n <= samples samples, messages (n, 1 or T, *input shape).

        Unless `counted`, spikes and SOPs are left 0.

        Args:
            threads: that share out the tiles; more than one only for one sample.
        """
        program, samples = self.program, len(messages)
        assert threads == 1 or samples == 1
        np.copyto(self.messages(INPUT)[:samples], messages, casting="unsafe")
        rows, steps = len(program.populations) + 1, program.time_steps
        logits = np.zeros((threads, samples, program.classes), dtype=np.int64)
        spikes = np.zeros((threads, rows, samples, steps), dtype=np.int64)
        saturations = np.zeros((threads, rows + 1, steps, 2), dtype=np.int64)
        sops = np.zeros((threads, len(program.synapses), samples, steps), dtype=np.int64)
        board = aligned_zeros(board_size(self.stages, threads) if threads > 1 else 0, np.int64)
        while len(self.own) < threads:
            self.own.append(self._memory_of_a_thread())
        runs = []
        for place in range(threads):
            _, scratch, counts = self.own[place]
            left = logits[place], spikes[place], saturations[place], sops[place], self.by_events, counts
            team = Team(place, threads, _address(board))
            outcome = addresses(Outcome(*left))
            runs.append((self.path, self.model, self.at, scratch, outcome, team, samples, counted, 0, rows + 1))
        if threads > 1:
            if self.helpers is None or self.helpers._max_workers < threads - 1:
                self.helpers = ThreadPoolExecutor(threads - 1)
            for each in runs[1:]:
                self.helpers.submit(_help, board, *each)
        engine.run(*runs[0])
        tally = Tally.of(spikes.sum(axis=0), saturations.sum(axis=0)[:rows], sops.sum(axis=0))
        return logits.sum(axis=0) + steps * program.readout.bias, tally

    def _memory_of_a_thread(self) -> tuple[Scratch, Scratch, np.ndarray]:
        """Scratch, its addresses, and counts of messages; a thread of a team has its own, but for states in loops."""
        plan, tile = self.plan, PIXELS * LANES
        scratch = Scratch(
            **{name: aligned_zeros(tile, np.int64) for name in ("accumulator", "current", "v", "d")},
            **{name: aligned_zeros(tile, np.int32) for name in ("accumulator32", "current32", "v32", "d32")},
            patch=aligned_zeros(plan.patch_size, np.int32),
            events=aligned_zeros(plan.events_size, np.int64),
            firsts=aligned_zeros(plan.firsts_size, np.int32),
            kept=self.kept,
            points=aligned_zeros(plan.points_size, np.uint8),
            products=aligned_zeros(winograd.POINTS * winograd.PRODUCTS, np.int32),
        )
        return scratch, addresses(scratch), aligned_zeros(plan.counts_size * self.samples, np.int32)

    def messages(self, name: str) -> np.ndarray:
        """View of the messages of a population, or "input": (samples, 1 or T, *shape), 1 where all steps are equal."""
        row = [INPUT, *(p.name for p in self.program.populations)].index(name)
        shape = self.program.shapes[name]
        channels, height, width = (*shape, 1, 1)[:3]
        buffer = self.plan.tables.buffers[row]
        arena = self.arenas[buffer["arena"]]
        strides = (buffer["sample"], buffer["step"], 1, buffer["row"], buffer["pixel"])
        view = np.lib.stride_tricks.as_strided(
            arena[buffer["offset"] :],
            (self.samples, int(buffer["steps"]), channels, height, width),
            [int(s) * arena.itemsize for s in strides],
        )
        return view[..., 0, 0] if len(shape) == 1 else view


def _help(board: np.ndarray, *run: Any) -> None:
    """Take part in a run of the first thread; the board stays even if that has ended, and says so."""
    engine.run(*run)


def addresses(arrays: Memory) -> Memory:
    """The same class with the arrays' addresses: what compiled code is handed."""
    return type(arrays)._make(map(_address, arrays))


def _address(array: np.ndarray) -> int:
    return array.ctypes.data
