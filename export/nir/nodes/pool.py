"""SumPool2d and AvgPool2d."""

from __future__ import annotations

from math import prod

from hmdf.sim.contract import SumPool
from hmdf.sim.errors import ProgramError

from ...graph import PoolLayer
from ..building import Building
from ..parameters import Unsupported, pair
from ..units import Unit

KINDS = ("SumPool2d", "AvgPool2d")


def layers(made: Building, unit: Unit, source: str) -> str:
    op = SumPool(pair(unit, "kernel_size"), pair(unit, "stride"), pair(unit, "padding"))
    try:
        shape = op.output_shape(made.shapes[source])
    except ProgramError as error:
        raise Unsupported(str(error), "make its window fit what it reads") from None
    factor = 1 / prod(op.kernel) if unit.kind == "AvgPool2d" else 1.0
    return made.add(PoolLayer(made.names.of(unit), shape, (source,), op, factor))
