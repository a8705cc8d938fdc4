"""Which samples make up each mini-batch, this process's parts of it, and the seeds of everything random in it.

All of it follows from the training seed, the epoch and the number of the mini-batch alone: training can go on at any
mini-batch as if it had never stopped.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .augment import Augmentation
from .config import TrainingConfig
from .data import Dataset, normalise

__all__ = ["MiniBatch", "mini_batches"]


@dataclass(frozen=True)
class MiniBatch:
    """One mini-batch as a process sees it.

    Attributes:
        number: 0 for the first one of the epoch.
        before: samples of the epoch that came before it.
        size: samples of the joint mini-batch, over all processes and parts.
        parts: this process's raw (inputs, labels) and the seed of their augmentation, one after the other.
        draw: a number of 0..2^63-1 that all processes share; its remainder by T is the time-step of random BP.
    """

    number: int
    before: int
    size: int
    parts: tuple[tuple[Tensor, Tensor, int], ...]
    draw: int

    def prepared(self, data: Dataset, augmentation: Augmentation | None, device: torch.device) -> Iterator[Any]:
        """(normalised inputs, labels or probabilities) of each part, on the device."""
        for raw, labels, seed in self.parts:
            if augmentation is None:
                x = torch.from_numpy(normalise(raw.numpy(), data.preprocessing))
                yield x.to(device), labels.to(device)
            else:
                yield augmentation(raw.to(device), labels.to(device), seed)


def mini_batches(
    data: Dataset, config: TrainingConfig, epoch: int, first: int, rank: int, processes: int
) -> Iterator[MiniBatch]:
    """The mini-batches of an epoch from number ``first`` on, the next one being read while one is in use.

    A last mini-batch that would leave some part with a single sample is dropped: BatchNorm cannot use it.
    """
    order = np.random.default_rng([config.seed, epoch]).permutation(len(data))
    parts = processes * config.accumulate
    chosen = [
        (number, order[start : start + config.batch_size])
        for number, start in enumerate(range(0, len(data), config.batch_size))
        if number >= first and len(order[start : start + config.batch_size]) >= 2 * parts
    ]
    if not chosen:
        return
    own = slice(rank * config.accumulate, (rank + 1) * config.accumulate)

    def read(number: int, indices: NDArray[np.int64]) -> MiniBatch:
        seeds = np.random.default_rng([config.seed, epoch, number]).integers(2**63, size=parts + 1)
        samples = [
            (torch.from_numpy(np.asarray(data.inputs[part])), torch.from_numpy(data.labels[part]), int(seed))
            for part, seed in zip(np.array_split(indices, parts)[own], seeds[1:][own], strict=True)
        ]
        return MiniBatch(number, number * config.batch_size, len(indices), tuple(samples), int(seeds[0]))

    with ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(read, *chosen[0])]
        for following in [*chosen[1:], None]:
            current = ahead.pop()
            if following is not None:
                ahead.append(reader.submit(read, *following))
            yield current.result()
