"""A convolution along the channels."""

from __future__ import annotations

from math import prod
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ...arithmetic import Integers
from ...errors import ProgramError
from ..intervals import Bounds, weighted
from ..struct import Shape
from .base import WeightedOp, dot


class ChannelConv(WeightedOp, tag="channel_conv"):
    """acc[c] = sum_j w[j] * in[c + j - padding], the channels as the axis (SECA); weight (k,), k = 2*padding + 1."""

    padding: int = 0

    axes: ClassVar[int] = 1
    shared: ClassVar[bool] = True

    def output_shape(self, source: Shape) -> Shape:
        if prod(source[1:]) != 1 or self.padding < 0 or len(self.weight) != 2 * self.padding + 1:
            raise ProgramError(
                f"needs one value per channel and 2*padding+1 taps (source {source}, {len(self.weight)} taps, "
                f"padding {self.padding})"
            )
        return source

    def accumulate(self, source: Integers) -> Integers:
        flat = np.pad(source.reshape(len(source), -1), ((0, 0), (self.padding, self.padding)))
        return dot(sliding_window_view(flat, 2 * self.padding + 1, axis=1), self.weight).reshape(source.shape)

    def bounds(self, source: Bounds, shape: Shape) -> Bounds:
        channels, taps = np.arange(source.low.shape[1]), len(self.weight)
        columns = channels[None, :] - channels[:, None] + self.padding
        band = np.where((columns >= 0) & (columns < taps), self.weight[np.clip(columns, 0, taps - 1)], 0)
        return weighted(band[:, :, None], source)

    def fanout(self, source: Shape) -> Integers:
        taps = np.zeros(source[0], dtype=np.int64)
        for j in np.flatnonzero(self.weight):
            reached = np.arange(source[0]) - (j - self.padding)
            taps += (reached >= 0) & (reached < source[0])
        return taps.reshape(source)

    @property
    def taps(self) -> int:
        return len(self.weight)

    def channels_read(self, source: Shape, outputs: int) -> tuple[Integers, Integers]:
        channels = np.arange(outputs)
        return np.maximum(channels - self.padding, 0), np.minimum(channels + self.padding + 1, source[0])
