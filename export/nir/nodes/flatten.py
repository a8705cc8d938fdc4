"""Flatten, of all axes."""

from __future__ import annotations

from math import prod

from ...graph import FlattenLayer
from ..building import Building
from ..parameters import Unsupported, integers
from ..units import Unit

KINDS = ("Flatten",)


def layers(made: Building, unit: Unit, source: str) -> str:
    shape = made.shapes[source]
    if len(shape) == 1:
        return source
    start, end = (integers(f"its {name}", unit.values.get(name), (1,))[0] for name in ("start_dim", "end_dim"))
    inner = shape if start in (0, -3) else shape[start:]
    if end not in (-1, 2) or prod(inner) != prod(shape):
        raise Unsupported(f"flattens axes {start}..{end} of {shape}, not all of them", "flatten from axis 0 to -1")
    return made.add(FlattenLayer(made.names.of(unit), (prod(shape),), (source,)))
