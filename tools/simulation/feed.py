"""The samples of a run, made ready block by block, so that a data set of any size fits."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.encoder import clipped_values, encode, normalise
from hmdf.sim.errors import InputError
from hmdf.sim.program import Program
from hmdf.train.data import Dataset
from hmdf.train.data.picture_files import Pictures
from hmdf.train.errors import DataError

BLOCK = 256
"""Samples that are normalised and encoded at a time, at most."""
BLOCK_BYTES = 64 << 20
"""Of their normalised values."""
WHITE = 255.0
"""The brightest value of an image file. It stands for the divisor of the data that a program was trained on."""


class Feed:
    """Samples as a program takes them: normalised values, and the messages they become.

    Args:
        inputs: raw, (N, ...): an array, or what returns one when it is indexed.
        pictures: whether they are images of one's own, whose white is 255.
        name: of the data, for messages.
        first: number of the first of them in the whole data set.
    """

    def __init__(self, program: Program, inputs: Any, pictures: bool, name: str, first: int = 0) -> None:
        self.program, self.inputs, self.name, self.first = program, inputs, name, first
        self.preprocessing = program.input.preprocessing
        if pictures:
            self.preprocessing = msgspec.structs.replace(self.preprocessing, divisor=WHITE)
        self.values = program.input_steps * prod(program.input.shape)
        """Of one sample."""
        self.clipped = 0
        """Input values beyond the range of the input's messages, of the blocks read so far."""

    @classmethod
    def of(cls, program: Program, data: Dataset | Pictures) -> Feed:
        """All samples of a data set."""
        return cls(program, data.inputs, isinstance(data, Pictures), data.name)

    def __len__(self) -> int:
        return self.first + len(self.inputs)

    def x(self, start: int, stop: int) -> NDArray[np.float64]:
        """Normalised samples start..stop, (n, *shape) or (n, T, *shape); DataError names the sample that is damaged."""
        try:
            return normalise(self._raw(start, stop), self.preprocessing)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None

    def messages(self, count: int) -> NDArray[np.int32]:
        """The first `count` samples as integers, all at once."""
        return encode(self.program, self.x(0, min(count, len(self))))

    def blocks(self, start: int, stop: int) -> Iterator[NDArray[np.int32]]:
        """The messages of samples start..stop in order, some at a time."""
        step = min(BLOCK, max(32, BLOCK_BYTES // (8 * self.values) // 32 * 32))
        for first in range(start, stop, step):
            x = self.x(first, min(first + step, stop))
            messages = encode(self.program, x)
            self.clipped += clipped_values(self.program, x)
            yield messages

    def _raw(self, start: int, stop: int) -> NDArray[Any]:
        begin, end = start - self.first, stop - self.first
        try:
            return self.inputs[begin:end]
        except DataError:
            for index in range(begin, min(end, len(self.inputs))):  # which one is it?
                try:
                    self.inputs[index]
                except DataError as error:
                    raise DataError(f"sample {index + self.first}: {error}") from None
            raise
