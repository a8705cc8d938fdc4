"""The arena: one piece of memory for messages and scratch, planned by when each is needed."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .layout import SIZES, TYPES

ALIGNMENT = 4


class Buffer(msgspec.Struct, frozen=True):
    """Elements of one type that are needed from one stage of a step to another, both included.

    Fields:
        name: its identifier.
        code: type of its elements, as in layout.TYPES.
        count: number of elements.
        first, last: stages: a population's number, or that of the read-out, which comes last.
        note: what it holds.
    """

    name: str
    code: str
    count: int
    first: int
    last: int
    note: str

    @property
    def size(self) -> int:
        """Bytes, a multiple of the alignment."""
        return -(-self.count * SIZES[self.code] // ALIGNMENT) * ALIGNMENT

    @property
    def type(self) -> str:
        return TYPES[self.code]


class ArenaPlan(msgspec.Struct, frozen=True):
    """Where each buffer lies, in bytes from the start; buffers that are needed at one stage never overlap."""

    buffers: tuple[Buffer, ...]
    offsets: dict[str, int]

    @property
    def size(self) -> int:
        return max((self.offsets[b.name] + b.size for b in self.buffers), default=0)


def plan(buffers: Iterable[Buffer]) -> ArenaPlan:
    """Place the largest buffers first, each at the lowest offset where none of its time lies."""
    placed: list[Buffer] = []
    offsets: dict[str, int] = {}
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first, b.name)):
        offset = 0
        for other in sorted(placed, key=lambda b: offsets[b.name]):
            if other.last < buffer.first or buffer.last < other.first:
                continue
            if offset + buffer.size <= offsets[other.name]:
                break
            offset = max(offset, offsets[other.name] + other.size)
        placed.append(buffer)
        offsets[buffer.name] = offset
    return ArenaPlan(tuple(sorted(placed, key=lambda b: (b.first, offsets[b.name]))), offsets)
