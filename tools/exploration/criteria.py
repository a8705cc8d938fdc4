"""The figures that points are compared by, as the user writes and reads them."""

from __future__ import annotations

from collections.abc import Callable
from math import floor, log10

import click
import msgspec

from .points import Point, Setting

ENERGY = {"pJ": 1.0, "nJ": 1e3, "uJ": 1e6, "µJ": 1e6, "mJ": 1e9, "J": 1e12}
MEMORY = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
TIME = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}


class Figure(msgspec.Struct, frozen=True):
    """One kind of cost: smaller is better.

    Fields:
        of: the value of a point, None where it is not known.
        unit, divisor: how it is shown.
    """

    name: str
    of: Callable[[Point], float | None]
    unit: str
    divisor: float

    def text(self, value: float) -> str:
        """With its unit."""
        return f"{significant(value / self.divisor)} {self.unit}".rstrip()


def energy_of(point: Point) -> float | None:
    """Typical pJ per sample; None where some event has no known cost, for such a sum compares with nothing."""
    return None if point.energy_pj is None or point.energy_missing else point.energy_pj.typical


def _latency_of(point: Point) -> float | None:
    return None if point.latency_ns is None else point.latency_ns.typical


ENERGY_FIGURE = Figure("energy", energy_of, "uJ", 1e6)
MEMORY_FIGURE = Figure("memory", lambda point: point.memory_bytes, "kB", 1e3)
CORES_FIGURE = Figure("cores", lambda point: point.cores, "", 1.0)
LATENCY_FIGURE = Figure("latency", _latency_of, "us", 1e3)
COSTS = (ENERGY_FIGURE, MEMORY_FIGURE, CORES_FIGURE, LATENCY_FIGURE)
"""In the order in which they decide between settings."""


def significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    decimals = 2 - floor(log10(abs(value))) if value else 0
    return f"{round(value, decimals):,.{max(decimals, 0)}f}" if value != int(value) else f"{value:,.0f}"


def percent(share: float) -> str:
    return f"{share:.2%}"


def describe(setting: Setting) -> str:
    """A setting in words; what is at its default is left out."""
    parts = [f"{setting.spike_bits}-bit spikes", f"{setting.time_steps} step{'s' if setting.time_steps > 1 else ''}"]
    usual = Setting(setting.spike_bits, setting.time_steps)
    for field, title in (("message_bits", "messages"), ("input_bits", "input"), ("weight_bits", "weights")):
        if getattr(setting, field) != getattr(usual, field):
            parts.append(f"{getattr(setting, field)}-bit {title}")
    return ", ".join([*parts, *(["merged pools"] if setting.pools == "merge" else [])])


class Quantity(click.ParamType):
    """A number with a unit, such as 20uJ or 1.5 MB, in the unit that counts 1."""

    def __init__(self, units: dict[str, float]) -> None:
        self.units = units
        self.name = f"NUMBER {'|'.join(unit for unit in units if unit.isascii())}"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).replace(" ", "")
        unit = max((u for u in self.units if text.endswith(u)), key=len, default=None)
        number = _positive(text.removesuffix(unit)) if unit is not None else None
        if unit is None or number is None:
            self.fail(f"'{value}' is not a positive number with one of the units {', '.join(self.units)}", param, ctx)
        return number * self.units[unit]


class Share(click.ParamType):
    """97.5% or 0.975."""

    name = "PERCENT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).replace(" ", "")
        number = _positive(text.removesuffix("%"))
        share = number if number is None or not text.endswith("%") else number / 100
        if share is None or share > 1:
            self.fail(f"'{value}' is not a share: write 97.5% or 0.975", param, ctx)
        return share


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
