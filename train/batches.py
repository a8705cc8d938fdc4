"""Which samples make up each mini-batch, this process's parts of it, and the seeds of everything random in it.

All of it follows from the training seed, the epoch and the number of the mini-batch alone: training can go on at any
mini-batch as if it had never stopped.
"""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from .augment import Augmentation
from .config import TrainingConfig
from .data import Dataset
from .errors import DataError, TrainingError, lost

__all__ = ["MiniBatch", "MiniBatches", "Part"]

# Mini-batches that each worker process has ready.
AHEAD = 4


class Part(NamedTuple):
    """Samples of one forward pass: as the data set has them, or ready for the network.

    Attributes:
        inputs: images (N, C, H, W) or frames (N, T, C, H, W); raw, or normalised floats.
        labels: (N,), or probabilities (N, classes) after Mixup.
        seed: of the augmentation that is still to come; None for what is ready.
    """

    inputs: Tensor
    labels: Tensor
    seed: int | None


@dataclass(frozen=True)
class MiniBatch:
    """One mini-batch as a process sees it.

    Attributes:
        number: 0 for the first one of the epoch.
        before: samples of the epoch that came before it.
        size: samples of the joint mini-batch, over all processes and parts.
        parts: this process's samples, one part after the other.
        draw: a number of 0..2^63-1 that all processes share; its remainder by T is the time-step of random BP.
    """

    number: int
    before: int
    size: int
    parts: tuple[Part, ...]
    draw: int

    def prepared(self, prepare: Augmentation, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """(normalised inputs, labels or probabilities) of each part, on the device."""
        for inputs, labels, seed in self.parts:
            x, y = (inputs, labels) if seed is None else prepare(inputs, labels, seed)
            yield x.to(device, non_blocking=True), y.to(device, non_blocking=True)

    def pin_memory(self) -> "MiniBatch":
        """The same in memory that a GPU can copy from while the program goes on; DataLoader calls it."""
        parts = [Part(part.inputs.pin_memory(), part.labels.pin_memory(), part.seed) for part in self.parts]
        return replace(self, parts=tuple(parts))

    def ready(self, prepare: Augmentation) -> "MiniBatch":
        """The same with all parts prepared where they are."""
        parts = (part if part.seed is None else Part(*prepare(*part[:2], part.seed), None) for part in self.parts)
        return replace(self, parts=tuple(parts))


class MiniBatches:
    """The mini-batches of a run as process ``rank`` of ``processes`` sees them.

        batches = MiniBatches(data, config, preparation(spec, config, data.preprocessing))
        for batch in batches.of_epoch(1):
            for x, labels in batch.prepared(batches.prepare, device):

    The next ones are read while one is in use: by a thread, or by ``config.workers`` processes that augment them too.
    A last mini-batch that would leave some part with a single sample is dropped: BatchNorm cannot use it.

    Args:
        prepare: makes raw samples ready; where there are workers they call it, on the CPU.
        pin_memory: whether mini-batches of workers come in memory that a GPU copies from without a wait.
        parts_of: (size in pixels, whether half are mirrored): take random parts of images that are decoded here.

    Attributes:
        parts: of each joint mini-batch, over all processes; own: which of them this process has.
        known_order: an epoch and the order of its samples, so as to draw it once.
        queue: (epoch, number) of what the workers read next; they look at it when an epoch begins.
    """

    def __init__(
        self,
        data: Dataset,
        config: TrainingConfig,
        prepare: Augmentation,
        rank: int = 0,
        processes: int = 1,
        pin_memory: bool = False,
        parts_of: tuple[int, bool] | None = None,
    ) -> None:
        self.data, self.config, self.prepare, self.pin_memory = data, config, prepare, pin_memory
        self.parts_of = parts_of
        self.parts = processes * config.accumulate
        self.own = slice(rank * config.accumulate, (rank + 1) * config.accumulate)
        self.known_order: tuple[int, NDArray[np.int64]] = -1, np.empty(0, np.int64)
        self.queue: list[tuple[int, int]] = []
        self.loader: DataLoader[MiniBatch | DataError | TrainingError] | None = None

    def of_epoch(self, epoch: int, first: int = 0) -> Iterator[MiniBatch]:
        """The mini-batches of an epoch from number ``first`` on; raises DataError for samples that cannot be read."""
        sizes = [len(self._samples(epoch, number)) for number in range(-(-len(self.data) // self.config.batch_size))]
        chosen = [(epoch, number) for number, size in enumerate(sizes) if number >= first and size >= 2 * self.parts]
        return self._read_by_workers(chosen) if self.config.workers else self._read_by_thread(chosen)

    def close(self) -> None:
        """End the worker processes; they start again where they are needed."""
        self.loader = None

    def read(self, epoch: int, number: int) -> MiniBatch:
        """One mini-batch, not prepared yet."""
        indices = self._samples(epoch, number)
        seeds = np.random.default_rng([self.config.seed, epoch, number]).integers(2**63, size=self.parts + 1)
        parts = [
            Part(
                torch.from_numpy(self._inputs(part, int(seed))),
                torch.from_numpy(self.data.labels[part]),
                int(seed),
            )
            for part, seed in zip(np.array_split(indices, self.parts)[self.own], seeds[1:][self.own], strict=True)
        ]
        return MiniBatch(number, number * self.config.batch_size, len(indices), tuple(parts), int(seeds[0]))

    def _inputs(self, part: NDArray[np.int64], seed: int) -> NDArray[Any]:
        if self.parts_of is None:
            return np.asarray(self.data.inputs[part])
        return self.data.inputs.parts(part, *self.parts_of, seed)

    def _samples(self, epoch: int, number: int) -> NDArray[np.int64]:
        if self.known_order[0] != epoch:
            self.known_order = epoch, np.random.default_rng([self.config.seed, epoch]).permutation(len(self.data))
        start = number * self.config.batch_size
        return self.known_order[1][start : start + self.config.batch_size]

    def _read_by_thread(self, chosen: list[tuple[int, int]]) -> Iterator[MiniBatch]:
        if not chosen:
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(self.read, *chosen[0])]
            for following in [*chosen[1:], None]:
                current = ahead.pop()
                if following is not None:
                    ahead.append(reader.submit(self.read, *following))
                yield current.result()

    def _read_by_workers(self, chosen: list[tuple[int, int]]) -> Iterator[MiniBatch]:
        self.queue[:] = chosen
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create")  # how many was the user's choice
            if self.loader is None:
                self.loader = DataLoader(
                    _ReadyMiniBatches(self),
                    batch_size=None,
                    sampler=self.queue,
                    num_workers=self.config.workers,
                    collate_fn=_as_it_is,
                    pin_memory=self.pin_memory,
                    prefetch_factor=AHEAD,
                    persistent_workers=True,
                    multiprocessing_context="fork",
                )
            results = iter(self.loader)
        try:
            for result in results:
                if isinstance(result, DataError | TrainingError):
                    raise result
                yield result
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrainingError(
                "a worker process was killed (out of memory?); --resume with fewer --workers goes on"
            ) from None


class _ReadyMiniBatches(torch.utils.data.Dataset[MiniBatch | DataError | TrainingError]):
    """What the worker processes do: (epoch, number) -> mini-batch, augmented and normalised, or what was wrong."""

    def __init__(self, batches: MiniBatches) -> None:
        self.batches = batches

    def __getitem__(self, at: tuple[int, int]) -> MiniBatch | DataError | TrainingError:
        try:
            batch = self.batches.read(*at)  # of whole bytes, as long as there is no more to do than to normalise them
            return (
                batch
                if self.batches.parts_of and not self.batches.config.augments
                else batch.ready(self.batches.prepare)
            )
        except DataError as error:  # raised, it would come with the worker's traceback as its message
            return error
        except (RuntimeError, MemoryError) as error:
            if (reason := lost(error)) is None:
                raise
            return TrainingError(f"a worker process: {reason}; --resume with fewer --workers goes on")


def _as_it_is(result: Any) -> Any:
    return result
