"""Sum pooling."""

from __future__ import annotations

from math import prod

from ...arithmetic import Integers
from ..intervals import Bounds
from ..struct import Shape
from .base import Pool


class SumPool(Pool, tag="sum_pool"):
    """acc[c,y,x] = sum of the window's messages; padding counts as 0. No weights are stored."""

    def accumulate(self, source: Integers) -> Integers:
        return self.window.views(source).sum(axis=(-2, -1))

    def bounds(self, source: Bounds, shape: Shape) -> Bounds:
        inside = source.with_zero() if any(self.padding) else source
        return Bounds(inside.low * prod(self.kernel), inside.high * prod(self.kernel))

    def counting(self) -> SumPool:
        return self
