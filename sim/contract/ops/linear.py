"""A fully connected layer."""

from __future__ import annotations

from math import prod
from typing import ClassVar

import numpy as np

from ...arithmetic import Integers
from ...errors import ProgramError
from ..intervals import Bounds, weighted
from ..struct import Shape
from .base import WeightedOp, dot


class Linear(WeightedOp, tag="linear"):
    """acc[o] = sum_i w[o,i] * in[i], the source flattened in C order; weight (F_out, F_in)."""

    axes: ClassVar[int] = 2

    def output_shape(self, source: Shape) -> Shape:
        if self.weight.shape[1] != prod(source):
            raise ProgramError(f"{self.weight.shape[1]} input features, but its source has {prod(source)} {source}")
        return (self.weight.shape[0],)

    def accumulate(self, source: Integers) -> Integers:
        return dot(source.reshape(len(source), -1), self.weight.T)

    def bounds(self, source: Bounds, shape: Shape) -> Bounds:
        return weighted(self.weight.reshape(len(self.weight), shape[0], -1), source)

    def fanout(self, source: Shape) -> Integers:
        return np.count_nonzero(self.weight, axis=0).reshape(source).astype(np.int64)

    @property
    def taps(self) -> int:
        return self.weight.shape[1]

    def channels_read(self, source: Shape, outputs: int) -> tuple[Integers, Integers]:
        return np.zeros(outputs, np.int64), np.full(outputs, source[0], np.int64)
