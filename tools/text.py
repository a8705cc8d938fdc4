"""Numbers for tables: few digits, no exponents, nothing where nothing is known."""

from __future__ import annotations

from math import floor, log10

COUNTED_BY = {"hm_df": "as HM-DF counts", "spikformer": "as Spikformer counts"}
"""Conventions of the literature beside the exact one (docs/counters.md)."""


def number(value: float | None) -> str:
    """A count, with thousands set apart."""
    return "" if value is None else f"{value:,.0f}"


def figure(value: float) -> str:
    """Three significant digits, without an exponent."""
    decimals = 2 - floor(log10(abs(value))) if value else 0
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def triple(cost: dict[str, float] | None, unit: float) -> str:
    """Low - typical - high in multiples of `unit`; one figure where the three are the same."""
    if cost is None:
        return ""
    low, typical, high = (figure(cost[key] / unit) for key in ("low", "typical", "high"))
    return typical if cost["low"] == cost["high"] else f"{low} - {typical} - {high}"


def relative(spread: dict[str, float] | None) -> str:
    """Standard deviation over the samples as a share of the mean."""
    return "" if spread is None or not spread["mean"] else f"+-{spread['std'] / spread['mean']:.1%}"
