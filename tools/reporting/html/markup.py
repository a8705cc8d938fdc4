"""HTML elements that escape what they are given, numbers that know where they come from, and small pictures."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable
from html import escape
from math import floor, log10
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

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


def percent(value: float) -> str:
    """Two digits after the point; three where two would round to all or nothing."""
    if value in (0, 1):
        return f"{value:.0%}"
    return f"{value:.2%}" if 0.0005 <= value < 0.9995 else f"{value:.3%}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def count(value: float) -> str:
    """Whole below a million; with three digits after the point above."""
    if value >= 1e6:
        return f"{value / 1e6:,.3f} M"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def decibel(value: float) -> str:
    return f"{value:.1f} dB"


def energy(picojoules: float) -> str:
    return _prefixed(picojoules * 1e-12, "J")


def duration(nanoseconds: float) -> str:
    return _prefixed(nanoseconds * 1e-9, "s")


def size(octets: float) -> str:
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if octets >= factor:
            return f"{_three(octets / factor)} {unit}"
    return f"{octets:.0f} B"


def _prefixed(value: float, unit: str) -> str:
    for factor, prefix in ((1, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if value >= factor * 0.9995:
            return f"{_three(value / factor)} {prefix}{unit}"
    return f"{_three(value / 1e-12)} p{unit}" if value else f"0 {unit}"


def _three(value: float) -> str:
    """Three significant digits without an exponent."""
    decimals = 2 - floor(log10(value)) if value else 0
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def step(key: str) -> str:
    """One step of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


class Numbers:
    """The document of the report, for elements that show one of its numbers.

    A number is asked for by its JSON pointer (RFC 6901), so what the page shows is what the JSON says.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def value(self, pointer: str) -> Any:
        """What stands at a pointer such as "/layers/3/bits"."""
        found: Any = self.document
        for step in pointer.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found

    def show(self, pointer: str, style: Callable[[float], str]) -> Markup:
        """The number as text, with its exact value and pointer beside it; a dash for None."""
        value = self.value(pointer)
        if value is None:
            return Markup("–")
        return el("data", style(value), value=repr(value), data_key=pointer)

    def triple(self, pointer: str, style: Callable[[float], str]) -> Markup:
        """low – high of a cost, or its one value."""
        cost = self.value(pointer)
        if cost["low"] == cost["high"]:
            return self.show(f"{pointer}/typical", style)
        return join(self.show(f"{pointer}/low", style), " – ", self.show(f"{pointer}/high", style))


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
