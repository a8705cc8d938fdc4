"""IF and LIF: integrate-and-fire neurons, leaky or not."""

from __future__ import annotations

from ..building import Building
from ..membranes import fires, firing, membrane, neurons, start_and_height
from ..units import Unit

KINDS = ("IF", "LIF")


def layers(made: Building, unit: Unit, source: str) -> str:
    """u = (v - v_reset) / (v_threshold - v_reset), u <- k u + gain I + offset."""
    shape = made.shapes[source]
    start, height = start_and_height(unit, shape)
    kept, gain, offset = membrane(made, unit, shape, start)
    return fires(made, neurons(made, unit, source, gain / height, offset / height, firing(made.dialect, kept)))
