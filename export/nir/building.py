"""The layers that nodes of NIR become, while they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from hmdf.sim.contract import Shape

from ..graph import FlattenLayer, Layer
from .dialect import Dialect
from .parameters import Unsupported
from .units import NodeNames, Unit


@dataclass
class Building:
    """The layers so far; `current` has, by node of NIR, the layer of its value, `later` the shapes of all in a cycle.

    A BeforeLayer reads a node of NIR until all layers are made.
    """

    dialect: Dialect
    layers: list[Layer] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    current: dict[str, str] = field(default_factory=dict)
    later: dict[str, Shape] = field(default_factory=dict)
    binary: set[str] = field(default_factory=set)
    before: set[str] = field(default_factory=set)
    names: NodeNames = field(default_factory=NodeNames)
    output: str = ""

    def add(self, layer: Layer) -> str:
        self.layers.append(layer)
        self.shapes[layer.name] = layer.shape
        return layer.name


def flat(made: Building, unit: Unit, source: str) -> str:
    """The source without positions; a Flatten is added where all but one of its extents are 1."""
    shape = made.shapes[source]
    if len(shape) == 1:
        return source
    if prod(shape) != max(shape):
        raise Unsupported(f"reads {shape}, which is not flat", "put a Flatten before it")
    return made.add(FlattenLayer(made.names.of(unit, "_flat"), (prod(shape),), (source,)))
