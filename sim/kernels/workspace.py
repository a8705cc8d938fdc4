"""The memory of one thread: message arenas and scratch for a block of samples, allocated once, used for all blocks."""

from __future__ import annotations

from typing import TypeVar

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
from .tiles import LANES, PIXELS

Memory = TypeVar("Memory", Arenas, Scratch, Outcome)


class Workspace:
    """Runs blocks of up to `samples` samples of one program; not shared between threads.

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
        tile = PIXELS * LANES
        self.scratch = Scratch(
            **{name: aligned_zeros(tile, np.int64) for name in ("accumulator", "current", "v", "d")},
            **{name: aligned_zeros(tile, np.int32) for name in ("accumulator32", "current32", "v32", "d32")},
            patch=aligned_zeros(plan.patch_size, np.int32),
            events=aligned_zeros(plan.events_size, np.int64),
            firsts=aligned_zeros(plan.firsts_size, np.int32),
            kept=aligned_zeros(plan.kept_size * samples, np.int64),
            points=aligned_zeros(plan.points_size, np.uint8),
            products=aligned_zeros(winograd.POINTS * winograd.PRODUCTS, np.int32),
        )
        self.by_events = np.zeros(len(program.populations) + 2, dtype=np.int64)
        self.counts = aligned_zeros(plan.counts_size * samples, np.int32)
        self.model = Model(
            **{name: _address(table) for name, table in plan.tables._asdict().items()},
            state_low=plan.state_range[0],
            state_high=plan.state_range[1],
            time_steps=program.time_steps,
            classes=program.classes,
            event_share=path.EVENT_SHARE if event_share is None else float(event_share),
            event_share_beside_points=events.WORTHWHILE_BESIDE_POINTS if event_share is None else float(event_share),
        )

    def run(self, messages: np.ndarray, counted: bool = True) -> tuple[Integers, Tally]:
        """Logits (n, classes) and raw counts of n <= samples samples, messages (n, 1 or T, *input shape).

        Unless `counted`, spikes and SOPs are left 0.
        """
        program, samples = self.program, len(messages)
        np.copyto(self.messages(INPUT)[:samples], messages, casting="unsafe")
        rows, steps = len(program.populations) + 1, program.time_steps
        logits = np.zeros((samples, program.classes), dtype=np.int64)
        spikes = np.zeros((rows, samples, steps), dtype=np.int64)
        saturations = np.zeros((rows + 1, steps, 2), dtype=np.int64)
        sops = np.zeros((len(program.synapses), samples, steps), dtype=np.int64)
        engine.run(
            self.path,
            self.model,
            addresses(self.arenas),
            addresses(self.scratch),
            addresses(Outcome(logits, spikes, saturations, sops, self.by_events, self.counts)),
            samples,
            counted,
            0,
            rows + 1,
        )
        return logits + steps * program.readout.bias, Tally.of(spikes, saturations[:rows], sops)

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


def addresses(arrays: Memory) -> Memory:
    """The same class with the arrays' addresses: what compiled code is handed."""
    return type(arrays)._make(map(_address, arrays))


def _address(array: np.ndarray) -> int:
    return array.ctypes.data
