"""The parameters of a node of NIR, each checked: finite, of a magnitude that states hold, one for each channel."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from hmdf.sim.contract import Shape

from ..graph import Array
from .units import Unit, array_of

MOST_INTEGER = 1 << 31
LARGEST = 1e9
"""Largest magnitude of a parameter after its scaling: far beyond what 24-bit states hold."""


class Unsupported(Exception):  # noqa: N818 - a finding in the making
    """What a node has that a program cannot have."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem, self.fix = problem, fix


def parameter(unit: Unit, name: str) -> Array:
    """A finite float64 array."""
    if unit.values.get(name) is None:
        raise Unsupported(f"has no {name}", "write it")
    return finite(f"its {name}", unit.values[name])


def finite(what: str, value: Any) -> Array:
    try:
        array = array_of(value)
    except (TypeError, ValueError):
        raise Unsupported(f"{what} is no array of numbers", "write numbers") from None
    bad = ~np.isfinite(array)
    if bad.any():
        raise Unsupported(f"{what} has the value {array[bad].flat[0]}", "write finite values")
    return array


def integers(what: str, value: Any, sizes: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Integers below 2^31, in one of these numbers, if any."""
    values = finite(what, value).ravel()
    if sizes and values.size not in sizes:
        raise Unsupported(f"{what} has {values.size} values", f"give {' or '.join(map(str, sizes))}")
    if (bad := (np.rint(values) != values) | (np.abs(values) >= MOST_INTEGER)).any():
        raise Unsupported(f"{what} has the value {values[bad][0]:g}", "write integers below 2^31")
    return tuple(int(v) for v in values)


def positive(what: str, value: Any) -> float:
    number = finite(what, value)
    if number.size != 1 or not 0 < number.flat[0] <= LARGEST:
        raise Unsupported(f"{what} is {value}", "write one positive number")
    return float(number.flat[0])


def pair(unit: Unit, name: str, axes: int = 2, fill: int = 1) -> tuple[int, int]:
    """An int, or one for each axis, as (rows, columns)."""
    values = integers(f"its {name}", unit.values.get(name), (1, axes))
    if axes == 1:
        return (fill, values[0])
    return (values[0], values[-1])


def check_size(what: str, *values: Array) -> None:
    largest = max(float(np.abs(value).max(initial=0)) for value in values)
    if not largest <= LARGEST:
        raise Unsupported(f"{what} is {largest:g}, beyond what states hold", "scale it down")


def per_channel(unit: Unit, name: str, shape: Shape, array: Array | None = None) -> Array:
    """A parameter as (C,): one number, one for each channel or one for each neuron, all alike within a channel."""
    array = parameter(unit, name) if array is None else array
    if array.size == 1:
        return np.full(shape[0], array.flat[0])
    try:
        full = array.reshape(shape) if array.size == prod(shape) else np.broadcast_to(np.squeeze(array), shape)
    except ValueError:
        if array.size != shape[0]:
            problem = f"its {name} has the shape {array.shape}, its neurons {shape}"
            raise Unsupported(problem, "give one value, or one for each neuron") from None
        full = np.broadcast_to(array.reshape(-1, *(1,) * (len(shape) - 1)), shape)
    values = full.reshape(shape[0], -1)
    if not np.all(values == values[:, :1]):
        worst = int(np.ptp(values, axis=1).argmax())
        low, high = values[worst].min(), values[worst].max()
        problem = f"its {name} differs within channel {worst}, from {low:g} to {high:g}"
        raise Unsupported(problem, "a program has one value for each channel: make them equal within a channel")
    return values[:, 0].copy()


def extents_of(value: Any) -> tuple[int, ...]:
    if value is None:
        raise Unsupported("the shape of its input is not given", "write it into the Input node")
    extents = integers("the shape of its input", value)
    if min(extents, default=0) < 1:
        raise Unsupported(f"its shape {extents} has no elements", "give positive extents")
    return extents


def canonical(extents: tuple[int, ...]) -> Shape:
    """(F,), (C, H, W); (C, L) as (C, 1, L); extents of 1 that lead more axes than three are batches."""
    while len(extents) > 3 and extents[0] == 1:
        extents = extents[1:]
    if len(extents) == 2:
        return (extents[0], 1, extents[1])
    if len(extents) not in (1, 3):
        raise Unsupported(f"a shape of {extents} has too many axes", "use (F,), (C, L) or (C, H, W)")
    return extents
