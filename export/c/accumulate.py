"""What a synapse becomes in C: constant arrays, scratch memory, and the statements that fill an accumulator."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import Conv2d, Linear, Shape, Window
from hmdf.sim.contract.intervals import Interval
from hmdf.sim.errors import ProgramError

from .layout import Names
from .tables import PREFIX, ConstantArray
from .values import INT32

LIST_ROOM = 512
"""Events that are collected before they are added up, at most; the largest sum of as many fits 16 bits."""
PADDING = 2
"""A row may be padded to so many times its outputs."""
SPARE = 15
"""Events beyond the end of a list that are copied with it: EVENTS_COPIED - 1 in template/kernels.c."""
DENSE_TILE, DENSE_ROWS = 3, 7
"""Positions that conv2d_dense computes at once, and its tallest kernel."""
_EVENT_BYTES = 1 << 24
"""Bytes of weights that an event's offset reaches."""
_WORD = 4
"""Rows of weights are read in words of so many bytes."""
_LARGEST_CODE = {1: 1, 2: 2, 4: 15}


class Origin(NamedTuple):
    """What a synapse reads.

    Fields:
        name: its node.
        text: the C expression of its first element.
        code: type of its elements, as in layout.TYPES.
        limits: what its messages are proven to lie in.
    """

    name: str
    shape: Shape
    text: str
    code: str
    limits: Interval


class ScratchArray(NamedTuple):
    """Memory that is needed while its population is computed: elements of a type."""

    what: str
    code: str
    elements: int


class Site(NamedTuple):
    """Where a synapse is written: its name, its source, the shape of its accumulator, the C name of that."""

    name: str
    source: Origin
    shape: Shape
    acc: str
    names: Names

    def scratch(self, what: str) -> str:
        """The C expression of a scratch array of this synapse."""
        return f"arena->{self.names(self.name, what)}.data"

    def window(self, window: Window) -> tuple[str, str]:
        """The C name of a constant window over the source, and its definition."""
        name = self.names(self.name, "window")
        (ky, kx), (sy, sx), (py, px), (dy, dx) = window
        channels, height, width = self.source.shape
        numbers = f"{channels}, {height}, {width}, {ky}, {kx}, {sy}, {sx}, {py}, {px}, {dy}, {dx}"
        return name, f"static const window {name} = {{{numbers}}};"


class Accumulation(msgspec.Struct, frozen=True):
    """The C of one synapse.

    Fields:
        equation: its lines, for the comment.
        position: the statement that fills the accumulator at (y, x).
        row: a statement before each row of positions; start: one before all.
        outputs: elements of the accumulator, padding of the last weights included.
        definitions: constants at the top of model.c.
    """

    equation: tuple[str, ...]
    position: str
    row: str = ""
    start: str = ""
    outputs: int = 0
    tables: tuple[ConstantArray, ...] = ()
    scratch: tuple[ScratchArray, ...] = ()
    definitions: tuple[str, ...] = ()


class Rows(NamedTuple):
    """Weights in rows of `bytes` bytes, one for each input and tap; see add_row in template/kernels.c.

    Attributes:
        words: whether they can be added up by events, in words of 32 bits.
    """

    packed: NDArray[np.uint8]
    bytes: int
    bits: int
    words: bool

    @property
    def outputs(self) -> int:
        return self.bytes * (8 // self.bits)


def in_rows(op: Conv2d | Linear, source: Origin, weight: NDArray[np.int8]) -> Rows | None:
    """The weights in rows; None for 8-bit weights and where sums of codes might overflow.

    Rows are for words of 32 bits where messages are small enough and not half of each row would be padding.

    Args:
        weight: (inputs and taps, outputs).
    """
    bits, (inputs, outputs) = op.weight_bits, weight.shape
    if bits not in _LARGEST_CODE:
        return None
    per_byte, reach = 8 // bits, max(-source.limits.low, source.limits.high)
    if inputs * reach * 2 * _LARGEST_CODE[bits] > INT32.high:
        return None
    row, padded = -(-outputs // per_byte), -(-outputs // (per_byte * _WORD)) * _WORD
    small = bits <= 2 and source.limits.low >= 0 and source.limits.high <= 255
    reached = max(inputs, source.shape[0] * source.shape[-1])  # by an offset: from a tap, or in a source's row
    words = small and padded * per_byte <= PADDING * outputs and padded * reached < _EVENT_BYTES
    row = padded if words else row
    codes = np.zeros((inputs, row * per_byte), np.uint8)
    codes[:, :outputs] = {1: weight > 0, 2: weight + 1, 4: weight + 8}[bits]
    planes = codes.reshape(inputs, per_byte, row) << (np.arange(per_byte, dtype=np.uint8) * bits)[:, None]
    return Rows(np.bitwise_or.reduce(planes, axis=1).astype(np.uint8), row, bits, words)


def row_table(site: Site, rows: Rows) -> ConstantArray:
    weights = {1: "1-bit", 2: "ternary", 4: "4-bit"}[rows.bits]
    note = f"{site.name}: {weights} weights, a row of {rows.bytes} bytes for each tap and input"
    return ConstantArray(PREFIX + site.names(site.name, "weights"), "u8", rows.packed.reshape(-1), note)


def dense_table(site: Site, rows: Rows) -> ConstantArray:
    """The same bytes for conv2d_dense: those of all inputs one after the other."""
    note = f"{site.name}: the same weights, the bytes of all taps and inputs one after the other"
    by_outputs = rows.packed.T.reshape(-1)
    return ConstantArray(PREFIX + site.names(site.name, "dense"), "u8", by_outputs, note, "defined(__ARM_FEATURE_MVE)")


def list_room(inputs: int) -> int:
    """Room for events, a multiple of those that are added up at once."""
    return min(LIST_ROOM, -(-inputs // 8) * 8)


def flat_table(site: Site, weight: NDArray[np.int8], bits: int, order: str) -> ConstantArray:
    """Weights one after the other, in the order given, at their true width."""
    flat = weight.reshape(-1)
    code, packed = ("i8", flat) if bits == 8 else ("u8", _packed(flat, bits))
    note = f"{site.name}: {bits}-bit weights by ({order})"
    return ConstantArray(PREFIX + site.names(site.name, "weights"), code, packed, note)


def _packed(flat: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """As weight1, weight2 and weight4 in template/kernels.c read them."""
    per_byte = 8 // bits
    codes = np.zeros(-(-flat.size // per_byte) * per_byte, np.uint8)
    codes[: flat.size] = {1: flat > 0, 2: flat + 1, 4: flat & 15}[bits]
    shifted = codes.reshape(-1, per_byte) << (np.arange(per_byte, dtype=np.uint8) * bits)
    return np.bitwise_or.reduce(shifted, axis=1).astype(np.uint8)


def check_sums(site: Site, weight: NDArray[np.int8]) -> None:
    """Refuse what might overflow on its way to a total that fits.

    Args:
        weight: (outputs, ...).

    Raises:
        ProgramError: the magnitudes of an output's terms add up to more than 32 bits.
    """
    reach = max(-site.source.limits.low, site.source.limits.high)
    total = reach * int(np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1).max())
    if total > INT32.high:
        raise ProgramError(
            f"synapse '{site.name}': the terms of a sum may add up to {total}, C has 32 bits for them; "
            f"send it fewer message bits"
        )
