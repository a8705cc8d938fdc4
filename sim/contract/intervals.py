"""Intervals of integers, for the range proof."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..arithmetic import bits_needed, clamp, rshift, toward_zero
from .struct import Array


class Interval(msgspec.Struct, frozen=True):
    """All integers from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def bits(self) -> int:
        """Width of the smallest two's complement register that holds it."""
        return bits_needed(self.low, self.high)

    def hull(self, other: Interval) -> Interval:
        """The smallest interval that holds both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))


class Bounds:
    """Lower and upper bounds of many integers: two arrays of one shape, (T, C) between nodes, (C,) within a step."""

    def __init__(self, low: Array, high: Array) -> None:
        self.low, self.high = low, high

    @classmethod
    def constant(cls, low: int, high: int, shape: tuple[int, ...]) -> Bounds:
        return cls(np.full(shape, low, dtype=np.int64), np.full(shape, high, dtype=np.int64))

    def __add__(self, other: Bounds | Array) -> Bounds:
        if isinstance(other, Bounds):
            return Bounds(self.low + other.low, self.high + other.high)
        return Bounds(self.low + other, self.high + other)

    def times(self, factor: Array) -> Bounds:
        return self.product(Bounds(factor, factor))

    def product(self, other: Bounds) -> Bounds:
        corners = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Bounds(np.minimum.reduce(corners), np.maximum.reduce(corners))

    def shifted(self, n: int) -> Bounds:
        return Bounds(rshift(self.low, n), rshift(self.high, n))

    def toward_zero(self, n: int) -> Bounds:
        return Bounds(toward_zero(self.low, n), toward_zero(self.high, n))

    def clamped(self, low: int, high: int) -> Bounds:
        return Bounds(clamp(self.low, low, high), clamp(self.high, low, high))

    def at_most(self, limit: Array) -> Bounds:
        return Bounds(np.minimum(self.low, limit), np.minimum(self.high, limit))

    def at_least_zero(self) -> Bounds:
        return Bounds(np.maximum(self.low, 0), np.maximum(self.high, 0))

    def with_zero(self) -> Bounds:
        """The hull with 0."""
        return Bounds(np.minimum(self.low, 0), np.maximum(self.high, 0))

    def a_step_later(self) -> Bounds:
        """(T, C) of what is 0 at the first step, and then as these are a step before."""
        return Bounds(*(np.concatenate([np.zeros_like(limit[:1]), limit[:-1]]) for limit in (self.low, self.high)))

    def at(self, t: int) -> Bounds:
        """Step t, in Python integers: an intermediate of an unproven program may exceed 64 bits."""
        return Bounds(self.low[t].astype(object), self.high[t].astype(object))

    def hull(self) -> Interval:
        return Interval(int(self.low.min()), int(self.high.max()))


def weighted(weight: NDArray[np.int8], source: Bounds) -> Bounds:
    """Bounds of sum w * x for weight (O, I, taps) and x by (T, I): each tap of an input channel takes its worst value
    on its own."""
    positive, negative = np.zeros(weight.shape[:2], np.int64), np.zeros(weight.shape[:2], np.int64)
    for tap in range(weight.shape[2]):  # Several times faster than sums along a short last axis.
        weights = np.ascontiguousarray(weight[:, :, tap])
        positive += np.maximum(weights, 0)
        negative += np.minimum(weights, 0)
    # Float64 products are exact here (sums below 2^53, see ops.base.dot) and use BLAS.
    rising, falling = positive.T.astype(np.float64), negative.T.astype(np.float64)
    low, high = source.low.astype(np.float64), source.high.astype(np.float64)
    return Bounds((low @ rising + high @ falling).astype(np.int64), (high @ rising + low @ falling).astype(np.int64))
