"""What the neurons of one population are while a dynamics computes a step: as values, and as bounds of values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..arithmetic import Integers, clamp, integer_range
from .intervals import Bounds, Interval
from .message import Message
from .struct import Array, Pair, Shape


class Neurons:
    """Neurons of N samples: their states, int64 (N, *shape), and how often a clamp changed a value.

    Args:
        initial: (1, C or 1) by state, before the first step; states without one start at 0.
    """

    def __init__(
        self,
        samples: int,
        shape: Shape,
        states: tuple[str, ...],
        message: Message,
        state_bits: int,
        initial: Mapping[str, Array],
    ) -> None:
        self.shape = shape
        self.state = {name: np.zeros((samples, *shape), dtype=np.int64) for name in states}
        for name, value in initial.items():
            self.state[name] += self.at(0, value)
        self.message_range, self.state_range = message.range, integer_range(state_bits, signed=True)
        self.saturations = np.zeros(2, dtype=np.int64)
        """Clamps of the state, or of a table's index, and of the message."""

    def at(self, t: int, parameter: Array) -> Integers:
        """Row t of a (T or 1, C or 1) parameter, shaped to broadcast over (N, C, ...)."""
        row = parameter[t % len(parameter)].astype(np.int64)
        return row.reshape(-1, *(1,) * (len(self.shape) - 1))

    def limit_state(self, x: Integers) -> Integers:
        return self._limited(x, self.state_range, 0)

    def limit_index(self, x: Integers, limits: Pair) -> Integers:
        return self._limited(x, limits, 0)

    def limit_message(self, x: Integers) -> Integers:
        return self._limited(x, self.message_range, 1)

    def fire(self, state: str, m: Integers, theta: Integers) -> Integers:
        """y = [m >= theta], state <- m - y * theta (soft reset); returns y."""
        y = (m >= theta).astype(np.int64)
        self.state[state] = m - y * theta
        return y

    def fire_to(self, state: str, m: Integers, theta: Integers, reset: Integers) -> Integers:
        """y = [m >= theta], state <- reset where y, else m (hard reset); returns y."""
        fires = m >= theta
        self.state[state] = np.where(fires, reset, m)
        return fires.astype(np.int64)

    def _limited(self, x: Integers, limits: Pair, counter: int) -> Integers:
        clamped = clamp(x, *limits)
        self.saturations[counter] += np.count_nonzero(clamped != x)
        return clamped


class NeuronBounds:
    """The same as bounds per channel, with the hull of every integer met on the way.

    Works in Python integers (object arrays), since an intermediate of an unproven program may exceed 64 bits.
    """

    def __init__(
        self,
        channels: int,
        states: tuple[str, ...],
        message: Message,
        state_bits: int,
        initial: Mapping[str, Array],
    ) -> None:
        self.channels = channels
        zero = np.zeros(channels, dtype=object)
        self.state = {name: Bounds(zero, zero) for name in states}
        self.message_range, self.state_range = message.range, integer_range(state_bits, signed=True)
        self.met: dict[str, Interval] = {}
        self.state_clamps = self.message_clamps = False
        for name, value in initial.items():
            start = self.at(0, value)
            self.state[name] = self.meet("membrane", Bounds(start, start))

    def at(self, t: int, parameter: Array) -> Array:
        """Row t of a (T or 1, C or 1) parameter as Python integers, (C,)."""
        row: Array = parameter[t % len(parameter)].astype(object)
        return np.broadcast_to(row, (self.channels,))

    def scaled(self, state: str, t: int, factor: Array, shift: int) -> Bounds:
        """rshift(factor * state, shift)."""
        return self.meet("leak", self.state[state].times(self.at(t, factor))).shifted(shift)

    def decayed(self, state: str, t: int, factor: Array, shift: int) -> Bounds:
        """toward_zero(factor * state, shift)."""
        return self.meet("leak", self.state[state].times(self.at(t, factor))).toward_zero(shift)

    def above(self, m: Bounds, theta: Array) -> Bounds:
        """max(m - theta, 0)."""
        return self.meet("above", Bounds(m.low - theta, m.high - theta)).at_least_zero()

    def fire(self, state: str, m: Bounds, theta: Array) -> Bounds:
        """The bounds of y and of the state after y = [m >= theta]: the hull of m's firing and its silent part."""
        fires, silent = m.high >= theta, m.low < theta
        low = np.where(silent, m.low, m.low - theta)
        low = np.where(fires & silent, np.minimum(m.low, 0), low)
        high = np.where(fires, m.high - theta, m.high)
        high = np.where(fires & silent, np.maximum(m.high - theta, theta - 1), high)
        self.state[state] = self.meet("reset", Bounds(low, high))
        return self._spikes(fires, silent)

    def fire_to(self, state: str, m: Bounds, theta: Array, reset: Array) -> Bounds:
        """The same for a hard reset: where m may fire the state may be `reset`, where it may not it is below theta."""
        fires, silent = m.high >= theta, m.low < theta
        low = np.where(fires, np.where(silent, np.minimum(m.low, reset), reset), m.low)
        high = np.where(fires, np.where(silent, np.maximum(theta - 1, reset), reset), m.high)
        self.state[state] = self.meet("reset", Bounds(low, high))
        return self._spikes(fires, silent)

    def _spikes(self, fires: Array, silent: Array) -> Bounds:
        """0 or 1, or both, by whether a neuron may fire and may be silent."""
        return self.limit_message(Bounds((~silent.astype(bool)).astype(object), fires.astype(object)))

    def limit_membrane(self, x: Bounds) -> Bounds:
        """A membrane, before and after its clamp."""
        return self.limit_state(self.meet("membrane", x))

    def limit_state(self, x: Bounds) -> Bounds:
        return self.limit_index(x, self.state_range)

    def limit_index(self, x: Bounds, limits: Pair) -> Bounds:
        self.state_clamps |= _leaves(x.hull(), limits)
        return x.clamped(*limits)

    def limit_message(self, x: Bounds) -> Bounds:
        self.message_clamps |= _leaves(self.meet("sent", x).hull(), self.message_range)
        return self.meet("message", x.clamped(*self.message_range))

    def meet(self, what: str, x: Bounds) -> Bounds:
        """Widen the hull of `what` by x; returns x."""
        hull, before = x.hull(), self.met.get(what)
        self.met[what] = hull if before is None else before.hull(hull)
        return x


def _leaves(hull: Interval, limits: Pair) -> bool:
    return hull.low < limits[0] or hull.high > limits[1]
