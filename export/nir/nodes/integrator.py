"""I, LI and CubaLI: read-outs that do not fire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...graph import NormLayer
from ...neurons import FloatLeakyIntegrator
from ..building import Building
from ..dialect import MESSAGE_SCALE
from ..membranes import membrane, neurons, row, synapse
from ..parameters import check_size, per_channel, positive
from ..units import Unit

KINDS = ("I", "LI", "CubaLI")


def layers(made: Building, unit: Unit, source: str) -> str:
    """v starts at v_leak. The current of CubaLI is a population of its own."""
    shape = made.shapes[source]
    start = np.zeros(shape[0]) if unit.kind == "I" else per_channel(unit, "v_leak", shape)
    kept, gain, nothing = membrane(made, unit, shape, start)
    if unit.kind == "CubaLI":
        kept_current, taken = synapse(made, unit, shape)
        current = FloatLeakyIntegrator(row(kept_current))
        source = neurons(made, replace(unit, name=f"{unit.name}.synapse"), source, taken, nothing, current)
    metadata = unit.values.get("metadata")
    lsb = metadata.get(MESSAGE_SCALE) if isinstance(metadata, Mapping) else None
    neuron = FloatLeakyIntegrator(row(kept), None if lsb is None else positive(MESSAGE_SCALE, lsb))
    name = neurons(made, unit, source, gain, nothing, neuron)
    if not start.any():
        return name
    check_size("its v_leak", start)
    return made.add(NormLayer(made.names.of(unit, "_voltage"), shape, (name,), np.ones(shape[0]), start))
