"""Scale, by a factor for each channel."""

from __future__ import annotations

import numpy as np

from ...graph import NormLayer
from ..building import Building
from ..parameters import check_size, per_channel
from ..units import Unit

KINDS = ("Scale",)


def layers(made: Building, unit: Unit, source: str) -> str:
    shape = made.shapes[source]
    gain = per_channel(unit, "scale", shape)
    check_size("its scale", gain)
    return made.add(NormLayer(made.names.of(unit), shape, (source,), gain, np.zeros(shape[0])))
