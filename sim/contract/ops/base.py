"""What every op states, and what ops with a window or with weights have in common."""

from __future__ import annotations

from abc import abstractmethod
from math import prod
from typing import ClassVar, NamedTuple, Self

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ...arithmetic import Integers
from ...errors import ProgramError
from ..intervals import Bounds
from ..struct import Array, Contract, Pair, Shape

WEIGHT_RANGES = {1: (-1, 1), 2: (-1, 1), 4: (-8, 7), 8: (-128, 127)}
"""Smallest and largest weight by `weight_bits`; a 1-bit weight is never 0."""


LARGEST_EXTENT = 65_535
"""Largest kernel, stride, padding and dilation."""


class BaseOp(Contract):
    """The connection pattern of a synapse, with its weights where it has any."""

    @property
    def window(self) -> Window | None:
        """The window that slides over a (C, H, W) source; None for ops that see the source as a whole."""
        return None

    @abstractmethod
    def output_shape(self, source: Shape) -> Shape:
        """Shape of the accumulator for a source of shape (C, H, W) or (F,).

        Raises:
            ProgramError: the weight or the geometry does not fit the source.
        """

    @abstractmethod
    def accumulate(self, source: Integers) -> Integers:
        """The definition: exact accumulators, int64 (N, *output shape), of messages, int64 (N, *source shape)."""

    @abstractmethod
    def bounds(self, source: Bounds, shape: Shape) -> Bounds:
        """Bounds of the accumulator, (T, C_out), from those of the messages, (T, C), of a source of `shape`."""

    @abstractmethod
    def fanout(self, source: Shape) -> Integers:
        """Synaptic operations that a non-zero message at each position of the source causes, int64 of its shape."""

    @property
    @abstractmethod
    def taps(self) -> int:
        """Weights of one output, zeros and padding included."""

    @abstractmethod
    def channels_read(self, source: Shape, outputs: int) -> tuple[Integers, Integers]:
        """Input channels [first, last) that each output channel reads, two int64 (outputs,)."""

    @abstractmethod
    def counting(self) -> BaseOp:
        """The op whose accumulator of 0/1 messages is the number of synaptic operations."""


class WeightedOp(BaseOp):
    """An op with weights.

    Attributes:
        weight: int8 in a Program; real in the compiler until it is quantized. Its shape: see the op.
        weight_bits: 1 = {-1, +1}, 2 = ternary {-1, 0, +1}, 4 or 8 two's complement; 0 = real, not yet quantized.
    """

    weight: Array
    weight_bits: int

    axes: ClassVar[int]
    shared: ClassVar[bool] = False
    """Whether all output channels use the same weights."""

    def check(self) -> None:
        """Raise ProgramError unless the weights are such as a Program has."""
        weight, bits = self.weight, self.weight_bits
        if not isinstance(weight, np.ndarray) or weight.ndim != self.axes or weight.dtype != np.int8:
            raise ProgramError(f"needs an int8 weight with {self.axes} axes")
        if bits not in WEIGHT_RANGES:
            raise ProgramError(f"weight_bits must be 1, 2, 4 or 8 (got {bits})")
        if weight.size == 0:
            raise ProgramError(f"its weight is empty, shape {weight.shape}")
        low, high = WEIGHT_RANGES[bits]
        outside = (weight < low) | (weight > high)
        if bits == 1:
            outside |= weight == 0
        if outside.any():
            where = tuple(int(i) for i in np.argwhere(outside)[0])
            raise ProgramError(f"weight {weight[where]} at {where} is not a {bits}-bit weight")
        self._freeze("weight", weight)

    def counting(self) -> Self:
        return msgspec.structs.replace(self, weight=(self.weight != 0).astype(np.int8), weight_bits=2)


class Window(NamedTuple):
    """A window with its geometry, (y, x) each; padding counts as message 0 unless the op says otherwise."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)

    def extents(self, source: Shape) -> tuple[int, int]:
        """Height and width of the output; raises ProgramError where the window does not fit."""
        if len(source) != 3:
            raise ProgramError(f"needs a (C, H, W) source (got {source})")
        extents = (*self.kernel, *self.stride, *self.dilation)
        if min(extents) < 1 or min(self.padding) < 0 or max(*extents, *self.padding) > LARGEST_EXTENT:
            raise ProgramError(f"impossible geometry: {self}")
        height, width = (self.outputs(axis, source[1 + axis]) for axis in (0, 1))
        if min(height, width) < 1:
            raise ProgramError(f"a kernel of {self.kernel} does not fit a source of {source}")
        return height, width

    def outputs(self, axis: int, size: int) -> int:
        """Output positions along an axis (0: rows, 1: columns) of a source of `size`."""
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (size + 2 * self.padding[axis] - reach) // self.stride[axis] + 1

    def reaching_taps(self, axis: int, size: int) -> Integers:
        """1 where an input at a position meets a tap of the kernel at some output position, else 0; (size, kernel)."""
        start = np.arange(size)[:, None] + self.padding[axis] - self.dilation[axis] * np.arange(self.kernel[axis])
        stride = self.stride[axis]
        inside = (start >= 0) & (start % stride == 0) & (start // stride < self.outputs(axis, size))
        return inside.astype(np.int64)

    def reach(self, axis: int, size: int) -> NDArray[np.bool_]:
        """Whether each output position of an axis reads each input position, (outputs, size)."""
        position, tap = np.nonzero(self.reaching_taps(axis, size))
        reach = np.zeros((self.outputs(axis, size), size), np.bool_)
        reach[(position + self.padding[axis] - self.dilation[axis] * tap) // self.stride[axis], position] = True
        return reach

    def views(self, source: Integers, fill: int = 0) -> Integers:
        """Every window of the padded source, (N, C, H_out, W_out, kh, kw)."""
        (ph, pw), (sh, sw), (dh, dw) = self.padding, self.stride, self.dilation
        padded = np.pad(source, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
        reach = (dh * (self.kernel[0] - 1) + 1, dw * (self.kernel[1] - 1) + 1)
        return sliding_window_view(padded, reach, axis=(2, 3))[:, :, ::sh, ::sw, ::dh, ::dw]


def window_fanout(window: Window, taps: Integers, source: Shape) -> Integers:
    """Operations of a message at each position: taps (C, kh, kw) of its channel, summed over those that it meets."""
    rows, columns = (window.reaching_taps(axis, source[1 + axis]) for axis in (0, 1))
    return np.einsum("cuv,yu,xv->cyx", taps, rows, columns, optimize=True)


def dot(messages: Integers, weight: Array) -> Integers:
    """Exact product. Float64 holds it: |message| < 2^16, |weight| <= 2^7, so every partial sum of up to 2^30 terms
    is an integer below 2^53, and float64 products run fast in BLAS where NumPy has no fast integer product."""
    return (messages.astype(np.float64) @ weight.astype(np.float64)).astype(np.int64)


class Pool(BaseOp):
    """A window over each channel without stored weights."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.stride, self.padding)

    def output_shape(self, source: Shape) -> Shape:
        return (source[0], *self.window.extents(source))

    def fanout(self, source: Shape) -> Integers:
        return window_fanout(self.window, np.ones((source[0], *self.kernel), dtype=np.int64), source)

    @property
    def taps(self) -> int:
        return prod(self.kernel)

    def channels_read(self, source: Shape, outputs: int) -> tuple[Integers, Integers]:
        channels = np.arange(outputs)
        return channels, channels + 1
