"""The memory of one thread: message arenas and scratch for a block of samples, allocated once, used for all blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import Integers
from ..counters import Tally
from ..nodes import INPUT
from ..program import Program
from . import engine
from .plan import ARENAS, Plan
from .tiles import LANES, PIXELS


class Scratch(NamedTuple):
    """What a tile needs while it is computed: (PIXELS * LANES,), and one patch of a convolution."""

    accumulator: NDArray[np.int64]
    current: NDArray[np.int64]
    v: NDArray[np.int64]
    d: NDArray[np.int64]
    patch: NDArray[np.int32]


class Outcome(NamedTuple):
    """What a block leaves besides its messages; rows as in `Tally`, and one more of `saturations` for the read-out.

    `counts`: non-zero messages of the population at work, by sample, step, pixel class and channel.
    """

    logits: Integers
    spikes: Integers
    saturations: Integers
    sops: Integers
    counts: NDArray[np.int32]


class Workspace:
    """Runs blocks of up to `samples` samples of one program; not shared between threads."""

    def __init__(self, program: Program, plan: Plan, samples: int) -> None:
        self.program, self.plan, self.samples = program, plan, samples
        # Zeroed once: the frames around the messages stay 0, the kernels write inside them only.
        self.arenas = tuple(
            np.zeros(max(1, size * samples), dtype) for size, dtype in zip(plan.arena_sizes, ARENAS, strict=True)
        )
        accumulator, current, v, d = np.zeros((4, PIXELS * LANES), dtype=np.int64)
        self.scratch = Scratch(accumulator, current, v, d, patch=np.zeros(plan.patch_size, dtype=np.int32))
        self.counts = np.zeros(plan.counts_size * samples, dtype=np.int32)

    def run(self, messages: NDArray) -> tuple[Integers, Tally]:
        """Logits (n, classes) and raw counts of n <= samples samples, messages (n, 1 or T, *input shape)."""
        program, samples = self.program, len(messages)
        np.copyto(self.messages(INPUT)[:samples], messages, casting="unsafe")
        rows, steps = len(program.populations) + 1, program.time_steps
        outcome = Outcome(
            logits=np.zeros((samples, program.classes), dtype=np.int64),
            spikes=np.zeros((rows, samples, steps), dtype=np.int64),
            saturations=np.zeros((rows + 1, steps, 2), dtype=np.int64),
            sops=np.zeros((len(program.synapses), samples, steps), dtype=np.int64),
            counts=self.counts,
        )
        engine.run(self.plan.model, self.arenas, self.scratch, outcome, samples)
        logits = outcome.logits + steps * program.readout.bias
        return logits, Tally.of(outcome.spikes, outcome.saturations[:rows], outcome.sops)

    def messages(self, name: str) -> NDArray:
        """View of the messages of a population, or "input": (samples, 1 or T, *shape), 1 where all steps are equal."""
        row = [INPUT, *(p.name for p in self.program.populations)].index(name)
        shape = self.program.shapes[name]
        channels, height, width = (*shape, 1, 1)[:3]
        buffer = self.plan.model.buffers[row]
        arena = self.arenas[buffer["arena"]]
        strides = (buffer["sample"], buffer["step"], 1, buffer["row"], buffer["pixel"])
        view = np.lib.stride_tricks.as_strided(
            arena[buffer["offset"] :],
            (self.samples, int(buffer["steps"]), channels, height, width),
            [int(s) * arena.itemsize for s in strides],
        )
        return view[..., 0, 0] if len(shape) == 1 else view
