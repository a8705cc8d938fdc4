"""Where messages are kept, and the pools that the tables point into.

Messages are kept channels-last, (sample, step, row, column, channel), in three arenas by width (8-bit unsigned,
16-bit and 32-bit signed), each with a frame of zeros as wide as its convolutions pad. A convolution then has no
borders: its patch is a few contiguous runs of the source, the same ones at every output pixel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..contract import INPUT, Conv2d, Message, Shape, Synapse
from ..program import Program
from .lanes import WIDTH
from .records import ARENAS

_INPUT_ALIGNMENT = 4

Row = dict[str, Any]


class Layout(NamedTuple):
    """Where the messages of a Program are.

    Attributes:
        shapes: (C, H, W) by name of a node, features as (F, 1, 1).
        buffers: rows of records.BUFFER by name of a source: the input, then the populations in order.
        before: rows of the same messages read a step later, of the populations that are read so; they come after.
        numbers: of a source's row.
        largest: message that a source can send.
        arena_sizes: elements per sample of the three arenas.
    """

    shapes: dict[str, Shape]
    buffers: dict[str, Row]
    before: dict[str, Row]
    numbers: dict[str, int]
    largest: dict[str, int]
    arena_sizes: tuple[int, int, int]

    def read_by(self, synapse: Synapse) -> int:
        """The number of the row that a synapse reads."""
        if synapse.delay:
            return len(self.buffers) + list(self.before).index(synapse.source)
        return self.numbers[synapse.source]


class Concatenated:
    """Arrays one after the other in one array."""

    def __init__(self, dtype: type) -> None:
        self.dtype, self.size, self.alignment = dtype, 0, 64 // np.dtype(dtype).itemsize
        self.parts: list[np.ndarray] = [np.zeros(0, dtype)]

    def add(self, array: np.ndarray) -> int:
        """Append an array, flattened, on a cache line of its own; returns its offset."""
        offset = rounded_up(self.size, self.alignment)
        if offset > self.size:
            self.parts.append(np.zeros(offset - self.size, self.dtype))
        self.parts.append(np.ascontiguousarray(array, dtype=self.dtype).reshape(-1))
        self.size = offset + array.size
        return offset

    def array(self) -> np.ndarray:
        pool = aligned_zeros(self.size, self.dtype)
        np.concatenate(self.parts, out=pool)
        return pool


def aligned_zeros(size: int, dtype: type) -> np.ndarray:
    """Zeros that start on a cache line."""
    raw = np.zeros(size * np.dtype(dtype).itemsize + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * np.dtype(dtype).itemsize].view(dtype)


def rounded_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def padded(array: np.ndarray, columns: int) -> np.ndarray:
    """A matrix with zeros added on its right."""
    return np.pad(array, ((0, 0), (0, columns - array.shape[1])))


def lay_out(program: Program) -> Layout:
    """A buffer for each source of messages."""
    shapes: dict[str, Shape] = {name: (*shape, 1, 1)[:3] for name, shape in program.shapes.items()}
    steady = _steady(program)
    sizes = [0, 0, 0]
    buffers: dict[str, Row] = {}
    for name in [INPUT, *(p.name for p in program.populations)]:
        channels, height, width = shapes[name]
        top, bottom, left, right = _frame(program, shapes, name)
        pixel = rounded_up(channels, _INPUT_ALIGNMENT if name == INPUT else WIDTH)
        row = (width + left + right) * pixel
        plane, corner = (height + top + bottom) * row, top * row + left * pixel
        steps, arena = 1 if steady[name] else program.time_steps, _arena(program.message_of(name))
        silent = plane if name in program.remembered else 0  # a step of zeros before the first
        buffers[name] = {
            "arena": arena,
            "offset": sizes[arena] + silent + corner,
            "step": plane if steps > 1 else 0,
            "steps": steps,
            "row": row,
            "pixel": pixel,
            "channels": channels,
            "width": width,
            "plane": plane,
            "corner": corner,
        }
        sizes[arena] += silent + steps * plane
    for buffer in buffers.values():
        buffer["sample"] = sizes[buffer["arena"]]
    numbers = {name: i for i, name in enumerate(buffers)}
    largest = {name: program.message_of(name).range[1] for name in buffers}
    delayed = (name for name in buffers if name in program.remembered)
    before = {name: buffers[name] | {"offset": buffers[name]["offset"] - buffers[name]["plane"]} for name in delayed}
    return Layout(shapes, buffers, before, numbers, largest, (sizes[0], sizes[1], sizes[2]))


def _steady(program: Program) -> dict[str, bool]:
    """Whether a node gives the same values at every step: then it is computed and stored once."""
    steady = {INPUT: program.input.timing == "constant"}
    for node in program.nodes:
        if isinstance(node, Synapse):
            steady[node.name] = not node.delay and steady[node.source]
        else:
            read = [port.source for port in node.ports] + ([node.gate.source] if node.gate else [])
            same = not node.dynamics.facts.states and node.name not in program.remembered
            same = same and all(len(entry.array) == 1 for entry in node.parameters())
            steady[node.name] = same and all(steady[name] for name in read)
    return steady


def _frame(program: Program, shapes: dict[str, Shape], name: str) -> tuple[int, int, int, int]:
    """Zeros that the convolutions which read `name` need above, below, left and right of it."""
    frame = [0, 0, 0, 0]
    for synapse in program.synapses:
        if synapse.source == name and isinstance(op := synapse.op, Conv2d):
            for axis in (0, 1):
                reach = (shapes[synapse.name][1 + axis] - 1) * op.stride[axis]
                reach += (op.weight.shape[2 + axis] - 1) * op.dilation[axis] - op.padding[axis]
                frame[2 * axis] = max(frame[2 * axis], op.padding[axis])
                frame[2 * axis + 1] = max(frame[2 * axis + 1], reach - shapes[name][1 + axis] + 1)
    return frame[0], frame[1], frame[2], frame[3]


def _arena(message: Message) -> int:
    """The narrowest arena that holds a message."""
    low, high = message.range
    for arena, dtype in enumerate(ARENAS):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return arena
    raise AssertionError("a message has at most 16 bits")
