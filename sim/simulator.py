"""The fast executor: a Program on batches of samples, several threads, memory constant in the number of samples."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from threading import Lock

import msgspec
import numpy as np

from .arithmetic import Integers
from .counters import Counters, Tally, collect, joined
from .encoder import blocks, encode
from .errors import InputError
from .executor import Taps, check_messages
from .kernels.paths import Path, choose_path
from .kernels.plan import Plan, build_plan
from .kernels.workspace import Workspace
from .notebook import Messages, result_html
from .program import Program

MAX_BLOCK = 32


class Result(msgspec.Struct, frozen=True, eq=False):
    """Outcome of a simulation.

    Attributes:
        logits: int64 (N, classes); times `program.readout.scale` for real values.
        predictions: (N,), the first index of the largest logit.
        counters: see counters.py; of no samples where they were not wanted.
        seconds: wall-clock time of encoding and running.
        accuracy: share of predictions equal to the labels, when labels were given.
        taps: every message, only when asked for.
        program: that was run.
    """

    logits: Integers
    predictions: Integers
    counters: Counters
    seconds: float
    accuracy: float | None = None
    taps: Taps | None = None
    program: Program | None = None

    @property
    def messages(self) -> Messages:
        """Every message under its population's name, its axes named too.

        Raises:
            ValueError: the run kept no messages.
        """
        if self.taps is None:
            raise ValueError("the messages were not kept; run with taps=True")
        return Messages(self.taps.messages)

    def _repr_html_(self) -> str | None:
        if self.program is None or not self.counters.samples:
            return None
        accuracy = "" if self.accuracy is None else f"accuracy {self.accuracy:.2%}, "
        head = (
            f"{len(self.logits):,} samples in {self.seconds:.2f} s: {accuracy}"
            f"{self.counters.sops_per_sample().mean():,.0f} SOPs per sample"
        )
        return result_html(self.program, self.counters, head)


def simulate(
    program: Program,
    x: np.ndarray | Iterable[np.ndarray],
    *,
    labels: np.ndarray | None = None,
    threads: int | None = None,
    taps: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Run samples through a program.

    Args:
        x: (N, *shape) or (N, T, *shape): normalised floats, or integer messages; or an iterable of such blocks, which
            is read as the simulation goes, so that a data set of any size fits.
        labels: integers (N,), for the accuracy.
        threads: defaults to the processor's number.
        taps: keep every message of every population (large).
        progress: called with the number of samples done since the last call.

    Raises:
        InputError: a block does not fit the program, or the labels do not fit the samples.
    """
    return Simulator(threads).simulate(program, x, labels=labels, taps=taps, progress=progress)


class Simulator:
    """An executor (see `reference.Executor`) that keeps what it prepared for a program from one call to the next.

    Args:
        threads: defaults to the processor's number. Each takes blocks of samples; where there are fewer samples than
            threads, several share out the tiles of one (kernels/team.py).
        counted: whether to count spikes and operations; they cost a few percent.
        event_share: a convolution goes event by event where no more than this share of the groups of four messages
            that it reads is not 0: below 0 never, from 1 always; by default where it is faster. The integers are the
            same.
    """

    name = "numba"

    def __init__(self, threads: int | None = None, counted: bool = True, event_share: float | None = None) -> None:
        self.threads, self.counted = threads or os.cpu_count() or 1, counted
        self.event_share = event_share
        self.path = choose_path()
        self._prepared: tuple[Program, Plan] | None = None
        self._workspaces: list[Workspace] = []

    def run(self, program: Program, messages: np.ndarray) -> Taps:
        """Every message and logit, with the number of saturations."""
        check_messages(program, messages)
        taps = self.simulate(program, messages, taps=True).taps
        assert taps is not None
        return taps

    def simulate(
        self,
        program: Program,
        x: np.ndarray | Iterable[np.ndarray],
        *,
        labels: np.ndarray | None = None,
        taps: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Result:
        """See the function `simulate`."""
        began = time.perf_counter()
        if labels is not None:
            labels = _checked_labels(program, labels)
        run = _Run(
            program, self._plan(program), self._workspaces, self.path, self.counted, self.event_share, taps, progress
        )
        if isinstance(x, np.ndarray):
            run.block = max(1, min(run.block, -(-len(x) // self.threads)))
            x = [x]
        run.work_on(x, self.threads)
        logits = run.logits()
        predictions = np.argmax(logits, axis=1)
        return Result(
            logits=logits,
            predictions=predictions,
            counters=collect(program, run.tallies() if self.counted else []),
            seconds=time.perf_counter() - began,
            accuracy=None if labels is None else _accuracy(predictions, labels),
            taps=run.taps() if taps else None,
            program=program,
        )

    def count(
        self, program: Program, x: Iterable[np.ndarray], progress: Callable[[int], None] | None = None
    ) -> tuple[Integers, Tally]:
        """Logits and raw counts of a part of a run's samples, for `counters.counters_of` of the whole."""
        run = _Run(program, self._plan(program), self._workspaces, self.path, True, self.event_share, False, progress)
        run.work_on(x, self.threads)
        return run.logits(), joined(program, run.tallies())

    def _plan(self, program: Program) -> Plan:
        if self._prepared is None or self._prepared[0] is not program:
            self._prepared, self._workspaces = (program, build_plan(program, self.path)), []
        return self._prepared[1]


class _Run:
    """One simulation: threads take blocks of samples from a queue, and leave what is asked for in order."""

    def __init__(
        self,
        program: Program,
        plan: Plan,
        workspaces: list[Workspace],
        path: Path,
        counted: bool,
        event_share: float | None,
        keep_taps: bool,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.program, self.plan, self.workspaces, self.path = program, plan, workspaces, path
        self.counted, self.event_share, self.keep_taps, self.progress = counted, event_share, keep_taps, progress
        per_sample = sum(size * (1, 2, 4)[arena] for arena, size in enumerate(plan.arena_sizes))
        self.block = max(1, min(MAX_BLOCK, self.path.BLOCK_BYTES // max(1, per_sample)))
        self.done: dict[int, tuple[Integers, Tally, dict[str, np.ndarray]]] = {}
        self.lock, self.failed = Lock(), False

    def work_on(self, x: Iterable[np.ndarray], threads: int) -> None:
        """Each thread takes blocks; where there are fewer samples, each sample is taken by a team of threads."""
        parts, ahead, samples = iter(x), [], 0
        while samples < threads and (part := next(parts, None)) is not None:
            ahead.append(np.asarray(part))
            samples += len(ahead[-1])
        queue, teams = self._queue(chain(ahead, parts)), [1] * threads
        if samples < threads:
            most = self.plan.most_threads
            self.block, teams = 1, [min(most, len(range(i, threads, samples))) for i in range(samples)]
        if len(teams) == 1:
            self._work(queue, teams[0])
            return
        with ThreadPoolExecutor(threads) as pool:
            for worker in [pool.submit(self._work, queue, team) for team in teams]:
                worker.result()

    def logits(self) -> Integers:
        empty = np.zeros((0, self.program.classes), dtype=np.int64)
        return np.concatenate([empty, *(self.done[i][0] for i in sorted(self.done))])

    def tallies(self) -> list[Tally]:
        return [self.done[i][1] for i in sorted(self.done)]

    def taps(self) -> Taps:
        counts = np.sum([t.saturations.sum(axis=1) for t in self.tallies()], axis=0)
        populations = self.program.populations
        messages = {
            p.name: np.concatenate(
                [np.zeros((0, self.program.time_steps, *p.shape), np.int32)]
                + [self.done[i][2][p.name] for i in sorted(self.done)]
            )
            for p in populations
        }
        saturations = {p.name: counts[row] for row, p in enumerate(populations, start=1)} if self.done else {}
        return Taps(messages, self.logits(), saturations)

    def _queue(self, x: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        index = 0
        for part in x:
            for block in blocks(np.asarray(part), self.block):
                yield index, block
                index += 1

    def _work(self, queue: Iterator[tuple[int, np.ndarray]], threads: int) -> None:
        workspace = self._workspace()
        try:
            while (taken := self._take(queue)) is not None:
                index, samples = taken
                logits, tally = workspace.run(encode(self.program, samples), self.counted, threads)
                messages = self._messages(workspace, len(samples)) if self.keep_taps else {}
                self.done[index] = (logits, tally, messages)
                self._tell(len(samples))
        except BaseException:
            self.failed = True
            raise
        self.workspaces.append(workspace)

    def _workspace(self) -> Workspace:
        """One that a thread of an earlier call has left, if it is large enough: its pages need not be made again."""
        with suppress(IndexError):  # there is none; not asked before, since calls in other threads take them too
            while (kept := self.workspaces.pop()).samples < self.block:
                pass
            return kept
        return Workspace(self.program, self.plan, self.path, self.block, self.event_share)

    def _take(self, queue: Iterator[tuple[int, np.ndarray]]) -> tuple[int, np.ndarray] | None:
        with self.lock:
            return None if self.failed else next(queue, None)

    def _tell(self, samples: int) -> None:
        if self.progress is not None:
            with self.lock:
                self.progress(samples)

    def _messages(self, workspace: Workspace, samples: int) -> dict[str, np.ndarray]:
        steps = self.program.time_steps
        return {
            p.name: np.broadcast_to(workspace.messages(p.name)[:samples].astype(np.int32), (samples, steps, *p.shape))
            for p in self.program.populations
        }


def _checked_labels(program: Program, labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"labels must be one integer per sample (got {labels.dtype} {labels.shape})")
    outside = (labels < 0) | (labels >= program.classes)
    if outside.any():
        first = int(np.argmax(outside))
        raise InputError(f"label {labels[first]} of sample {first} is not a class: they are 0..{program.classes - 1}")
    return labels


def _accuracy(predictions: Integers, labels: np.ndarray) -> float:
    if len(labels) != len(predictions):
        raise InputError(f"{len(labels)} labels for {len(predictions)} samples")
    return float(np.mean(predictions == labels)) if len(labels) else 0.0
