"""Numbers as text, for tables and reports: few digits, no exponents, nothing where nothing is known."""

from __future__ import annotations

from collections.abc import Callable
from math import floor, log10

from hmdf.hw_targets.price.cost import Spread
from hmdf.hw_targets.schema import Cost, triple

COUNTED_BY = {"hm_df": "as HM-DF counts", "spikformer": "as Spikformer counts"}
"""Conventions of the literature beside the exact one (docs/counters.md)."""
Style = Callable[[float], str]
"""How a number is written."""


def number(value: float | None) -> str:
    """A count, with thousands set apart."""
    return "" if value is None else f"{value:,.0f}"


def plural(count: int, noun: str) -> str:
    """1 core, 2 cores."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    decimals = 2 - floor(log10(abs(value))) if value else 0
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def percent(share: float) -> str:
    """Two digits after the point; three where two would round to all or nothing."""
    close = 0 < share < 0.0005 or 0.9995 <= share < 1
    return f"{share:.3%}" if close else f"{share:.2%}"


def count(value: float) -> str:
    """Whole below a million; with three digits after the point above."""
    if value >= 1e6:
        return f"{value / 1e6:,.3f} M"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def decibel(value: float) -> str:
    return f"{value:.1f} dB"


def energy(picojoules: float) -> str:
    return _prefixed(picojoules * 1e-12, "J")


def duration(nanoseconds: float) -> str:
    return _prefixed(nanoseconds * 1e-9, "s")


def size(octets: float) -> str:
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if octets >= factor:
            return f"{significant(octets / factor)} {unit}"
    return f"{octets:.0f} B"


def _prefixed(value: float, unit: str) -> str:
    for factor, prefix in ((1, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if value >= factor * 0.9995:
            return f"{significant(value / factor)} {prefix}{unit}"
    return f"{significant(value / 1e-12)} p{unit}" if value else f"0 {unit}"


def in_units(cost: Cost | None, unit: float, style: Style = significant) -> str:
    """Low - typical - high in multiples of `unit`; one figure where the three are the same."""
    if cost is None:
        return ""
    low, typical, high = (style(value / unit) for value in triple(cost))
    return typical if cost.low == cost.high else f"{low} - {typical} - {high}"


def relative(spread: Spread | None) -> str:
    """Standard deviation over the samples as a share of the mean."""
    return "" if spread is None or not spread.mean else f"+-{spread.std / spread.mean:.1%}"
