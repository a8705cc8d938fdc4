"""Linear and Affine: a weight, with a bias or without."""

from __future__ import annotations

import numpy as np

from hmdf.sim.contract import Linear

from ..building import Building, flat
from ..parameters import Unsupported, parameter
from ..units import Unit
from ..weights import weight_layer

KINDS = ("Linear", "Affine")


def layers(made: Building, unit: Unit, source: str) -> str:
    weight = parameter(unit, "weight")
    if weight.ndim != 2 or not weight.size:
        raise Unsupported(f"its weight has the shape {weight.shape}", "use (outputs, inputs)")
    bias = parameter(unit, "bias") if unit.kind == "Affine" else np.zeros(len(weight))
    return weight_layer(made, unit, flat(made, unit, source), Linear(weight, 0), bias)
