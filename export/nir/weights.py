"""The layer of a weight: 1-bit and ternary ones are found exactly."""

from __future__ import annotations

import numpy as np
from msgspec import structs

from hmdf.sim.contract import Conv2d, Linear
from hmdf.sim.errors import ProgramError

from ..graph import Array, WeightLayer
from .building import Building
from .parameters import Unsupported, check_size
from .units import Unit


def weight_layer(made: Building, unit: Unit, source: str, op: Conv2d | Linear, bias: Array) -> str:
    weight = op.weight
    check_size("its largest weight or bias", weight, bias)
    try:
        shape = op.output_shape(made.shapes[source])
    except ProgramError as error:
        raise Unsupported(str(error), "make its weight fit what it reads") from None
    if bias.shape != (shape[0],):
        raise Unsupported(f"its bias has the shape {bias.shape}, its output {shape[0]} channels", "give one a channel")
    op, scale = _low_bit(op)
    return made.add(WeightLayer(made.names.of(unit), shape, (source,), op, scale, bias))


def _low_bit(op: Conv2d | Linear) -> tuple[Conv2d | Linear, Array]:
    """Weights that are {-s, 0, s} in every output channel as ternary ones, or 1-bit ones, with that scale: exactly."""
    weight = op.weight
    scale = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scale = np.where(scale > 0, scale, 1.0)
    signs = weight / scale.reshape(-1, *(1,) * (weight.ndim - 1))
    if not np.isin(signs, (-1, 0, 1)).all():
        return op, np.ones(len(weight))
    return structs.replace(op, weight=signs, weight_bits=2 if (signs == 0).any() else 1), scale
