"""A run in blocks of samples: what a block gives, as integers, and how blocks become the whole in any order."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from hmdf.sim.arithmetic import Integers
from hmdf.sim.counters import Counters, Tally, counters_of
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator
from hmdf.sim.stored import digest_of
from hmdf.sim.verify import Comparison, joined

from .executors import Verifier
from .feed import Feed

FEWEST, MOST, BLOCKS = 32, 256, 16
"""Samples of a block, at least and at most; a small run has about so many blocks. It depends on nothing else, so that
a run goes on with other workers than it was begun with."""


class Block(NamedTuple):
    """Samples start..stop of a run."""

    start: int
    stop: int


class BlockResult(msgspec.Struct, frozen=True, eq=False):
    """What n samples gave.

    Attributes:
        predictions: int64 (n,), the first index of the largest logit.
        largest: int64 (2, n): the largest logit and the second largest (the same where there is one class).
        tally: raw counts.
        clipped: input values beyond the range of the input's messages.
        compared: by executor.
        seconds: that the simulation took.
    """

    predictions: Integers
    largest: Integers
    tally: Tally
    clipped: int
    compared: dict[str, Comparison]
    seconds: float


class Totals:
    """The sum of all blocks; equal whatever their number and order, since they are integers and each has its place."""

    def __init__(self, program: Program, samples: int) -> None:
        rows, steps, synapses = 1 + len(program.populations), program.time_steps, len(program.synapses)
        self.program, self.samples, self.done = program, 0, set[int]()
        self.predictions, self.largest = np.zeros(samples, np.int64), np.zeros((2, samples), np.int64)
        self.tally = Tally(
            spikes_by_step=np.zeros((rows, steps), np.int64),
            spikes_by_sample=np.zeros((rows, samples), np.int64),
            saturations=np.zeros((rows, steps, 2), np.int64),
            sops_by_step=np.zeros((synapses, steps), np.int64),
            sops_by_sample=np.zeros((synapses, samples), np.int64),
        )
        self.clipped, self.seconds = 0, 0.0
        self.compared: dict[str, Comparison] = {}

    def add(self, block: Block, result: BlockResult) -> None:
        """Add a block that was not added before."""
        assert block.start not in self.done
        self.done.add(block.start)
        place, tally = slice(*block), result.tally
        self.samples += block.stop - block.start
        self.predictions[place], self.largest[:, place] = result.predictions, result.largest
        self.tally.spikes_by_sample[:, place] = tally.spikes_by_sample
        self.tally.sops_by_sample[:, place] = tally.sops_by_sample
        for name in ("spikes_by_step", "saturations", "sops_by_step"):
            getattr(self.tally, name)[...] += getattr(tally, name)
        self.clipped += result.clipped
        self.seconds += result.seconds
        for name, one in result.compared.items():
            before = self.compared.get(name)
            self.compared[name] = one if before is None else joined(self.program, before, one)

    def counters(self) -> Counters:
        """Of all samples."""
        return counters_of(self.program, self.tally)

    def accuracy(self, labels: NDArray[np.int64] | None) -> float | None:
        """Share of predictions equal to the labels; None without these."""
        return None if labels is None else float(np.mean(self.predictions == labels))


def blocks_of(samples: int, size: int | None = None) -> list[Block]:
    """The samples of a run in blocks of `size`, or as the number of samples says."""
    size = size or min(MOST, max(FEWEST, -(-samples // BLOCKS)))
    return [Block(start, min(start + size, samples)) for start in range(0, samples, size)]


def run_block(
    feed: Feed,
    block: Block,
    simulator: Simulator,
    verifier: Verifier,
    progress: Callable[[int], None] | None = None,
) -> BlockResult:
    """Simulate a block, and compare what of it is to be compared.

    Raises:
        DataError, InputError: a sample is damaged or does not fit; the message names it.
    """
    before, began = feed.clipped, time.perf_counter()
    logits, tally = simulator.count(feed.program, feed.blocks(*block), progress)
    clipped, seconds = feed.clipped - before, time.perf_counter() - began
    ordered = np.sort(logits, axis=1)[:, ::-1]
    largest = np.ascontiguousarray(ordered[:, [0, min(1, ordered.shape[1] - 1)]].T)
    compared = {}
    if block.start < verifier.samples:
        messages = feed.blocks(block.start, min(block.stop, verifier.samples))
        compared = verifier.compare(feed.program, messages, block.start)
    return BlockResult(np.argmax(logits, axis=1), largest, tally, clipped, compared, seconds)


# ------------------------------------------------------------------------------ as bytes


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a block holds besides arrays.

    Attributes:
        run: key of the run it belongs to.
    """

    run: str
    start: int
    stop: int
    clipped: int
    compared: dict[str, Comparison]
    seconds: float


def pack(run: str, block: Block, result: BlockResult) -> bytes:
    """A block as it travels and is kept: a safetensors file with integers as narrow as they can be, and a checksum."""
    arrays = {name: getattr(result.tally, name) for name in Tally.__struct_fields__}
    arrays |= {"predictions": result.predictions, "largest": result.largest}
    narrow = {name: np.ascontiguousarray(_narrow(array)) for name, array in arrays.items()}
    head = msgspec.json.encode(_Head(run, *block, result.clipped, result.compared, result.seconds))
    return safetensors.numpy.save(narrow, metadata={"block": head.decode(), "sha256": digest_of(head, narrow)})


def unpack(content: bytes, run: str) -> tuple[Block, BlockResult] | None:
    """A block of the run with that key; None for what is damaged, or is none."""
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = msgspec.json.decode(content[8 : 8 + length], type=_Header).metadata
        arrays = safetensors.numpy.load(content)
        head = msgspec.json.decode(metadata["block"], type=_Head)
        if metadata["sha256"] != digest_of(metadata["block"].encode(), arrays) or head.run != run:
            return None
        wide = {name: array.astype(np.int64) for name, array in arrays.items()}
        tally = Tally(**{name: wide[name] for name in Tally.__struct_fields__})
        result = BlockResult(wide["predictions"], wide["largest"], tally, head.clipped, head.compared, head.seconds)
        return Block(head.start, head.stop), result
    except (safetensors.SafetensorError, msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError):
        return None


class _Header(msgspec.Struct, frozen=True, rename={"metadata": "__metadata__"}):
    metadata: dict[str, str]


def _narrow(array: Integers) -> NDArray[np.integer]:
    kind = np.promote_types(*(np.min_scalar_type(v) for v in (array.min(initial=0), array.max(initial=0))))
    return array.astype(kind)
