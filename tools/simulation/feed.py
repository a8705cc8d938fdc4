"""The samples of a run, made ready block by block, so that a data set of any size fits."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.encoder import clipped_share, encode, normalise
from hmdf.sim.errors import InputError
from hmdf.sim.program import Program
from hmdf.train.data import Dataset
from hmdf.train.data.picture_files import Pictures

BLOCK = 256
"""Samples that are normalised and encoded at a time."""
MOST_BYTES = 4 << 30
"""Largest array of messages that is held at once."""
WHITE = 255.0
"""The brightest value of an image file. It stands for the divisor of the data that a program was trained on."""


class Feed:
    """A data set as a program takes it: normalised values, and the messages they become."""

    def __init__(self, program: Program, data: Dataset | Pictures) -> None:
        self.program, self.data = program, data
        self.preprocessing = program.input.preprocessing
        if isinstance(data, Pictures):
            self.preprocessing = msgspec.structs.replace(self.preprocessing, divisor=WHITE)
        self.clipped = 0.0
        """Share of input values beyond the range of the input's messages, of the blocks read so far."""

    def __len__(self) -> int:
        return len(self.data)

    def x(self, start: int, stop: int) -> NDArray[np.float64]:
        """Normalised samples start..stop, (n, *shape) or (n, T, *shape)."""
        try:
            return normalise(self.data.inputs[start:stop], self.preprocessing)
        except InputError as error:
            raise InputError(f"{self.data.name}: {error}") from None

    def messages(self, count: int) -> NDArray[np.int32]:
        """The first `count` samples as integers, all at once.

        Raises:
            InputError: they would take more than MOST_BYTES.
        """
        count = min(count, len(self))
        size = 4 * count * self.program.input_steps * prod(self.program.input.shape)
        if size > MOST_BYTES:
            raise InputError(f"{count} samples take {size / 1e9:.0f} GB to compare at once: give --verify-samples")
        parts = [encode(self.program, self.x(a, min(a + BLOCK, count))) for a in range(0, count, BLOCK)]
        return np.concatenate(parts)

    def blocks(self) -> Iterator[NDArray[np.int32]]:
        """The messages of all samples in order, BLOCK samples at a time."""
        clipped = 0.0
        for start in range(0, len(self), BLOCK):
            x = self.x(start, start + BLOCK)
            clipped += clipped_share(self.program, x) * len(x)
            self.clipped = clipped / (start + len(x))
            yield encode(self.program, x)
