"""Neurons of NIR as difference equations.

Membranes are shifted and scaled so that every neuron starts, and is reset, at 0 and fires at 1: per-neuron thresholds,
resistances and leak voltages become gains and offsets of the currents.
"""

from __future__ import annotations

import numpy as np

from hmdf.sim.contract import Shape

from ..graph import Array, FiringLayer, FloatDynamics, NormLayer
from ..neurons import FloatHardResetIntegrateAndFire, FloatLeakyIntegrateAndFire, FloatMultiHierarchical
from .building import Building
from .dialect import Dialect
from .parameters import Unsupported, check_size, per_channel
from .units import Unit

ZERO, ONE = np.zeros((1, 1)), np.ones((1, 1))


def neurons(made: Building, unit: Unit, source: str, gain: Array, offset: Array, neuron: FloatDynamics) -> str:
    """Neurons that read gain * source + offset, both (C,)."""
    shape = made.shapes[source]
    check_size("the factor of its current", gain, offset)
    if not (np.all(gain == 1) and np.all(offset == 0)):
        source = made.add(NormLayer(made.names.of(unit, "_current"), shape, (source,), gain, offset))
    return made.add(FiringLayer(made.names.of(unit), shape, (source,), neuron, None))


def fires(made: Building, name: str) -> str:
    made.binary.add(name)
    return name


def membrane(made: Building, unit: Unit, shape: Shape, start: Array) -> tuple[Array, Array, Array]:
    """k, gain and offset of v - start <- k (v - start) + gain I + offset, (C,) each."""
    r = per_channel(unit, "r", shape)
    if unit.kind in ("I", "IF"):
        step = 1.0 if made.dialect.impulses else made.dialect.time_step
        return np.ones(shape[0]), step * r, np.zeros(shape[0])
    kept = kept_of(made, unit, "tau_mem" if unit.kind.startswith("Cuba") else "tau", shape)
    return kept, (1 - kept) * r, (1 - kept) * (per_channel(unit, "v_leak", shape) - start)


def synapse(made: Building, unit: Unit, shape: Shape) -> tuple[Array, Array]:
    """What the current of a current-based neuron keeps of itself and takes in, (C,) each."""
    kept, weight = kept_of(made, unit, "tau_syn", shape), per_channel(unit, "w_in", shape)
    return kept, weight if made.dialect.impulses else (1 - kept) * weight


def start_and_height(unit: Unit, shape: Shape) -> tuple[Array, Array]:
    """v_reset, where a membrane starts, and how far the threshold is above it."""
    start = np.zeros(shape[0]) if unit.values.get("v_reset") is None else per_channel(unit, "v_reset", shape)
    height = per_channel(unit, "v_threshold", shape) - start
    if (height <= 0).any():
        raise Unsupported(f"its threshold is {height.min():g} above its v_reset", "it must be above it")
    return start, height


def kept_of(made: Building, unit: Unit, name: str, shape: Shape) -> Array:
    tau, step = per_channel(unit, name, shape), made.dialect.time_step
    if (tau <= 0).any():
        raise Unsupported(f"its {name} is {tau.min():g}", "a time constant is positive")
    kept = made.dialect.kept(tau)
    if (kept < -1e-6).any():
        problem = f"its {name} of {tau.min():g} is shorter than a time step of {step:g}"
        raise Unsupported(problem, "give a shorter --time-step, in the unit of tau")
    return np.maximum(kept, 0)


def firing(dialect: Dialect, kept: Array) -> FloatDynamics:
    """A neuron that fires at 1; kept: (C,)."""
    if dialect.reset == "value":
        return FloatHardResetIntegrateAndFire(ONE, dialect.above, row(kept))
    if dialect.reset == "subtract-later" and not np.all(kept == 1):
        # The dendrite d is m, the soma v is m - spike, so the last spike is d - v: m <- k m - (d - v) + I.
        return two_states(row(kept) - 1, ONE, ZERO, ONE)
    return FloatLeakyIntegrateAndFire(ONE, 1.0, ZERO, row(kept))


def two_states(dendrite: Array, feedback: Array, soma: Array, drive: Array) -> FloatDynamics:
    return FloatMultiHierarchical(ONE, 1.0, ZERO, dendrite, feedback, soma, drive)


def row(values: Array) -> Array:
    """(C,) as (1, C), or (1, 1) where all channels agree."""
    return values[None, :1] if np.all(values == values[0]) else values[None]
