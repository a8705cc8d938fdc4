"""Threshold: a neuron without memory."""

from __future__ import annotations

import numpy as np

from ...neurons import FloatHardResetIntegrateAndFire
from ..building import Building
from ..membranes import ONE, ZERO, fires, neurons
from ..parameters import per_channel
from ..units import Unit

KINDS = ("Threshold",)


def layers(made: Building, unit: Unit, source: str) -> str:
    shape = made.shapes[source]
    height = per_channel(unit, "threshold", shape)
    positive = bool((height > 0).all())
    gain, offset = (1 / height, np.zeros(shape[0])) if positive else (np.ones(shape[0]), 1 - height)
    forgetful = FloatHardResetIntegrateAndFire(ONE, made.dialect.above, ZERO)
    return fires(made, neurons(made, unit, source, gain, offset, forgetful))
