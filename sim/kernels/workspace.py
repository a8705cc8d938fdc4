"""The memory of one thread, or of a team: message arenas and scratch for a block of samples, allocated once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any, NamedTuple, TypeVar

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
from .team import ALONE, Team, board_size
from .tiles import LANES, PIXELS

Memory = TypeVar("Memory", Arenas, Scratch, Outcome)


class _Own(NamedTuple):
    """What a thread has for itself; `results` are logits, spikes, saturations and SOPs of its outcome in one array."""

    results: Integers
    scratch: Scratch
    outcome: Outcome
    arrays: tuple[Scratch, Outcome]


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
        self.input = self.messages(INPUT)
        self.kept = aligned_zeros(plan.kept_size * samples, np.int64)
        self.by_events = np.zeros(len(program.populations) + 2, dtype=np.int64)
        self.model = Model(
            **{name: _address(table) for name, table in plan.tables._asdict().items()},
            state_low=plan.state_range[0],
            state_high=plan.state_range[1],
            time_steps=program.time_steps,
            classes=program.classes,
            event_share=path.EVENT_SHARE if event_share is None else float(event_share),
            event_share_beside_points=events.WORTHWHILE_BESIDE_POINTS if event_share is None else float(event_share),
        )
        self.at = addresses(self.arenas)
        self.own = [self._memory_of_a_thread()]
        self.helpers = 0
        self.pool: ThreadPoolExecutor | None = None

    def run(self, messages: np.ndarray, counted: bool = True, threads: int = 1) -> tuple[Integers, Tally]:
        """Logits (n, classes) and raw counts of n <= samples samples, messages (n, 1 or T, *input shape).

        Unless `counted`, spikes and SOPs are left 0.

        Args:
            threads: that share out the tiles, if there is one sample.
        """
        samples = len(messages)
        np.copyto(self.input[:samples], messages, casting="unsafe")
        if threads == 1 or samples > 1:
            engine.run(*self.arguments(samples, counted))
            results = self.own[0].results
        else:
            self._run_together(threads, counted)
            results = np.sum([own.results for own in self.own[:threads]], axis=0)
        logits, spikes, saturations, sops = self._parts(results, samples)
        tally = Tally.of(spikes, saturations[:-1].copy(), sops)
        return logits + self.program.time_steps * self.program.readout.bias, tally

    def arguments(self, samples: int, counted: bool, team: Team = ALONE) -> tuple[Any, ...]:
        """Those of engine.run for a thread, whose outcome is 0."""
        while len(self.own) <= team.place:
            self.own.append(self._memory_of_a_thread())
        results, scratch, outcome, _ = self.own[team.place]
        results.fill(0)
        rows = len(self.plan.tables.populations)
        return self.path, self.model, self.at, scratch, outcome, team, samples, counted, 0, rows

    def _run_together(self, threads: int, counted: bool) -> None:
        """The sample in the workspace. Helpers come when the system lets them; the run does not wait for that."""
        if self.helpers < threads - 1:
            self.helpers, self.pool = threads - 1, ThreadPoolExecutor(threads - 1)
        assert self.pool is not None
        board = aligned_zeros(board_size(self.plan.stages, threads), np.int64)
        first, *others = (self.arguments(1, counted, Team(n, threads, _address(board))) for n in range(threads))
        for each in others:
            self.pool.submit(_help, (self, board), each)
        engine.run(*first)

    def _memory_of_a_thread(self) -> _Own:
        """Of states in loops there is one for all threads: the tile's thread may be another one at the next step."""
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
        results = aligned_zeros(sum(map(prod, self._shapes(self.samples))), np.int64)
        counts = aligned_zeros(plan.counts_size * self.samples, np.int32)
        outcome = Outcome._make((*self._parts(results, self.samples), self.by_events, counts))
        return _Own(results, addresses(scratch), addresses(outcome), (scratch, outcome))

    def _shapes(self, samples: int) -> tuple[tuple[int, ...], ...]:
        """Of logits, spikes, saturations and SOPs."""
        rows, steps, synapses = len(self.program.populations) + 1, self.program.time_steps, len(self.program.synapses)
        return (samples, self.program.classes), (rows, samples, steps), (rows + 1, steps, 2), (synapses, samples, steps)

    def _parts(self, results: Integers, samples: int) -> list[Integers]:
        """Views of what a run of `samples` samples has left, each at the place that it has for the most samples."""
        parts, begin = [], 0
        for shape, most in zip(self._shapes(samples), self._shapes(self.samples), strict=True):
            parts.append(results[begin : begin + prod(shape)].reshape(shape))
            begin += prod(most)
        return parts

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


def _help(kept: tuple[Workspace, np.ndarray], arguments: tuple[Any, ...]) -> None:
    """Take part in a run; what is at the addresses stays as long, though the run may have ended."""
    engine.run(*arguments)


def addresses(arrays: Memory) -> Memory:
    """The same class with the arrays' addresses: what compiled code is handed."""
    return type(arrays)._make(map(_address, arrays))


def _address(array: np.ndarray) -> int:
    return array.ctypes.data
