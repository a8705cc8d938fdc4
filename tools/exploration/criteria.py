"""What points are compared by, and how it is written."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..documents.exploration import Point, Setting
from ..text import number, plural, significant


class Criterion(msgspec.Struct, frozen=True):
    """One kind of cost: smaller is better.

    Attributes:
        of: the value of a point, None where it is not known.
        unit, divisor: how it is shown.
    """

    name: str
    of: Callable[[Point], float | None]
    unit: str
    divisor: float

    def text(self, value: float) -> str:
        """With its unit."""
        return f"{exact(value / self.divisor)} {self.unit}".rstrip()


def energy_of(point: Point) -> float | None:
    """Typical pJ per sample; None where some event has no known cost, for such a sum compares with nothing."""
    return None if point.energy_pj is None or point.energy_missing else point.energy_pj.typical


def _latency_of(point: Point) -> float | None:
    return None if point.latency_ns is None else point.latency_ns.typical


ENERGY = Criterion("energy", energy_of, "uJ", 1e6)
MEMORY = Criterion("memory", lambda point: point.memory_bytes, "kB", 1e3)
CORES = Criterion("cores", lambda point: point.cores, "", 1.0)
LATENCY = Criterion("latency", _latency_of, "us", 1e3)
COSTS = (ENERGY, MEMORY, CORES, LATENCY)
"""In the order in which they decide between settings."""


def exact(value: float) -> str:
    """Three significant digits; all of a whole number."""
    return number(value) if value == int(value) else significant(value)


def describe(setting: Setting) -> str:
    """A setting in words; what is at its default is left out."""
    parts = [f"{setting.spike_bits}-bit spikes", plural(setting.time_steps, "step")]
    usual = Setting(setting.spike_bits, setting.time_steps)
    for field, title in (("message_bits", "messages"), ("input_bits", "input"), ("weight_bits", "weights")):
        if getattr(setting, field) != getattr(usual, field):
            parts.append(f"{getattr(setting, field)}-bit {title}")
    return ", ".join([*parts, *(["merged pools"] if setting.pools == "merge" else [])])
