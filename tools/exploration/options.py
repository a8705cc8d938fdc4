"""Limits as the user writes them: a number with its unit, a share."""

from __future__ import annotations

import click

ENERGY_UNITS = {"pJ": 1.0, "nJ": 1e3, "uJ": 1e6, "µJ": 1e6, "mJ": 1e9, "J": 1e12}
MEMORY_UNITS = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
TIME_UNITS = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}


class Quantity(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
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


class Share(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
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
