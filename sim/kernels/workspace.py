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
from .dot import Path
from .lanes import WIDTH
from .plan import ARENAS, Plan, aligned_zeros
from .tiles import LANES, PIXELS


class Scratch(NamedTuple):
    """What a tile needs while it is computed: (PIXELS * LANES,) in 64 and 32 bits; a convolution's patch; a vector."""

    accumulator: NDArray[np.int64]
    current: NDArray[np.int64]
    v: NDArray[np.int64]
    d: NDArray[np.int64]
    accumulator32: NDArray[np.int32]
    current32: NDArray[np.int32]
    v32: NDArray[np.int32]
    d32: NDArray[np.int32]
    patch: NDArray[np.int32]
    lanes32: NDArray[np.int32]


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

    def __init__(self, program: Program, plan: Plan, path: Path, samples: int) -> None:
        self.program, self.plan, self.path, self.samples = program, plan, path, samples
        # Vectors are read whole, hence WIDTH elements past the end. Zeroed once: kernels write inside the frames only.
        self.arenas = tuple(
            aligned_zeros(size * samples + WIDTH, dtype) for size, dtype in zip(plan.arena_sizes, ARENAS, strict=True)
        )
        tile = PIXELS * LANES
        self.scratch = Scratch(
            *(aligned_zeros(tile, np.int64) for _ in range(4)),
            *(aligned_zeros(tile, np.int32) for _ in range(4)),
            patch=aligned_zeros(plan.patch_size, np.int32),
            lanes32=aligned_zeros(WIDTH, np.int32),
        )
        self.counts = aligned_zeros(plan.counts_size * samples, np.int32)

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
        engine.run(self.path, self.plan.model, self.arenas, self.scratch, outcome, samples, True)
        self.last = outcome
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
