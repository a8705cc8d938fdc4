"""A convolution over (C, H, W)."""

from __future__ import annotations

from math import prod
from typing import ClassVar

import numpy as np

from ...arithmetic import Integers
from ...errors import ProgramError
from ..intervals import Bounds, weighted
from ..struct import Pair, Shape
from .base import WeightedOp, Window, dot, window_fanout


class Conv2d(WeightedOp, tag="conv2d"):
    """`acc[o,y,x] = sum_{i,u,v} w[o,i,u,v] * in[g(o)+i, y*stride+u*dilation-padding, ...]`.

    The weight is (C_out, C_in/groups, kh, kw); padding counts as message 0.
    """

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    axes: ClassVar[int] = 4

    @property
    def window(self) -> Window:
        kernel = (self.weight.shape[2], self.weight.shape[3])
        return Window(kernel, self.stride, self.padding, self.dilation)

    def output_shape(self, source: Shape) -> Shape:
        extents = self.window.extents(source)
        channels_out, channels_in = self.weight.shape[:2]
        groups = self.groups
        if groups < 1 or source[0] % groups or channels_out % groups or channels_in != source[0] // groups:
            raise ProgramError(f"a weight of {self.weight.shape} in {groups} groups does not fit {source[0]} channels")
        return (channels_out, *extents)

    def accumulate(self, source: Integers) -> Integers:
        windows = self.window.views(source)
        samples, _, height, width = windows.shape[:4]
        fan_in, channels = self.weight[0].size, len(self.weight)
        columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(samples * height * width, self.groups, fan_in)
        rows = self.weight.reshape(self.groups, channels // self.groups, -1)
        products = [dot(columns[:, g], rows[g].T) for g in range(self.groups)]
        return np.concatenate(products, axis=1).reshape(samples, height, width, channels).transpose(0, 3, 1, 2)

    def bounds(self, source: Bounds, shape: Shape) -> Bounds:
        inside = source.with_zero() if any(self.padding) else source
        grouped = self.weight.reshape(self.groups, -1, self.weight.shape[1], prod(self.weight.shape[2:]))
        lows, highs = (np.split(limits, self.groups, axis=1) for limits in (inside.low, inside.high))
        parts = [weighted(w, Bounds(low, high)) for w, low, high in zip(grouped, lows, highs, strict=True)]
        return Bounds(np.concatenate([p.low for p in parts], axis=1), np.concatenate([p.high for p in parts], axis=1))

    def fanout(self, source: Shape) -> Integers:
        weight = self.weight
        per_group = (weight != 0).reshape(self.groups, -1, *weight.shape[1:]).sum(axis=1, dtype=np.int64)
        return window_fanout(self.window, per_group.reshape(source[0], *weight.shape[2:]), source)

    @property
    def taps(self) -> int:
        return prod(self.weight.shape[1:])

    def channels_read(self, source: Shape, outputs: int) -> tuple[Integers, Integers]:
        reads = source[0] // self.groups
        first = np.arange(outputs) // (outputs // self.groups) * reads
        return first, first + reads
