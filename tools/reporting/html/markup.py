"""HTML elements that escape what they are given, numbers that know where they come from, and small pictures."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.hw_targets.schema import Cost

from ...documents.report import Report
from ...text import Style

VOID = {"img", "input", "meta", "br", "path", "circle", "line", "use"}


class Markup(str):
    """Text that is HTML already. Only `el` and constants of this package make it; any other string is escaped."""


Child: TypeAlias = "str | Iterable[Child] | None"


def el(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """An element. Attributes: `cls` is class, `_` becomes `-`; None leaves one out. Children that are not Markup are
    escaped."""
    written = "".join(
        f' {"class" if key == "cls" else key.rstrip("_").replace("_", "-")}="{escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Children one after the other, escaped where needed."""
    parts = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(str(child))
        elif isinstance(child, str):
            parts.append(escape(child))
        elif child is not None:
            parts.append(str(join(*child)))
    return Markup("".join(parts))


# ----------------------------------------------------------------------------- numbers


class Numbers:
    """The document of the report, for elements that show one of its numbers.

    A number is asked for by the part of the document that holds it and its name there; the page states its exact value
    and its JSON pointer (RFC 6901), so that what is shown can be found in `--format json`.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self._pointers: dict[int, str] = {}
        self._index(report, "")

    def _index(self, value: object, pointer: str) -> None:
        """Keep where every struct stands; of one that stands in two places the first."""
        parts: Iterable[tuple[object, object]] = ()
        if isinstance(value, msgspec.Struct):
            self._pointers.setdefault(id(value), pointer)
            parts = ((field.encode_name, getattr(value, field.name)) for field in msgspec.structs.fields(value))
        elif isinstance(value, dict):
            parts = value.items()
        elif isinstance(value, list | tuple):
            parts = enumerate(value)
        for key, part in parts:
            if isinstance(part, msgspec.Struct | dict | list | tuple):
                self._index(part, f"{pointer}/{_step(key)}")

    def show(self, holder: msgspec.Struct, name: str, style: Style, key: str | int | None = None) -> Markup:
        """A number of a part of the document as text, with its exact value and pointer beside it; a dash for None.

        Args:
            name: the field.
            key: in that field, where it is a list or a dict.
        """
        value = getattr(holder, name)
        field = next(field for field in msgspec.structs.fields(holder) if field.name == name)
        pointer = f"{self._pointers[id(holder)]}/{field.encode_name}"
        if key is not None:
            value, pointer = value[key], f"{pointer}/{_step(key)}"
        return Markup("–") if value is None else el("data", style(value), value=repr(value), data_key=pointer)

    def typical(self, cost: Cost | None, style: Style) -> Markup:
        """The middle of a range."""
        return Markup("–") if cost is None else self.show(cost, "typical", style)

    def ends(self, cost: Cost | None, style: Style) -> Markup:
        """low – high of a range, or its one value."""
        if cost is None or cost.low == cost.high:
            return self.typical(cost, style)
        return join(self.show(cost, "low", style), " – ", self.show(cost, "high", style))


def _step(key: object) -> str:
    """One step of a JSON pointer."""
    return str(key).replace("~", "~0").replace("/", "~1")


# ---------------------------------------------------------------------------- pictures


def png(pixels: NDArray[np.uint8]) -> str:
    """A data address of a picture, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA."""
    planes = pixels if pixels.ndim == 3 else pixels[..., None]
    colour = {1: 0, 3: 2, 4: 6}[planes.shape[2]]
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(planes))
    header = struct.pack(">IIBBBBB", planes.shape[1], planes.shape[0], 8, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
