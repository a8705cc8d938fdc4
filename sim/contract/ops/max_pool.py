"""Max pooling."""

from __future__ import annotations

import numpy as np

from ...arithmetic import Integers
from ...errors import ProgramError
from ..intervals import Bounds
from ..struct import Shape
from .base import Pool
from .sum_pool import SumPool

_LOWEST = int(np.iinfo(np.int32).min)


class MaxPool(Pool, tag="max_pool"):
    """acc[c,y,x] = largest message of the window; padding never wins. No weights are stored."""

    def output_shape(self, source: Shape) -> Shape:
        shape = super().output_shape(source)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise ProgramError(f"padding {self.padding} exceeds half the kernel {self.kernel}")
        return shape

    def accumulate(self, source: Integers) -> Integers:
        return self.window.views(source, fill=_LOWEST).max(axis=(-2, -1))

    def bounds(self, source: Bounds, shape: Shape) -> Bounds:
        return source

    def counting(self) -> SumPool:
        """One event per message and window, as a sum pool."""
        return SumPool(self.kernel, self.stride, self.padding)
