"""Output, and the inputs and outputs of nested graphs, which pass on what they read."""

from __future__ import annotations

from ..building import Building
from ..units import PASSED_ON, Unit

KINDS = ("Output", PASSED_ON)


def layers(made: Building, unit: Unit, source: str) -> str:
    if unit.kind == "Output":
        made.output = source
    return source
