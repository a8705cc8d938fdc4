"""Limits with units, and shares."""

import click
import pytest

from hmdf.tools.exploration.options import ENERGY_UNITS, MEMORY_UNITS, Quantity, Share


@pytest.mark.parametrize(
    ("text", "value"), [("20uJ", 20e6), ("1.5 mJ", 1.5e9), ("3µJ", 3e6), ("7pJ", 7.0), ("1e-3J", 1e9), ("2nJ", 2e3)]
)
def test_energies(text, value):
    assert Quantity(ENERGY_UNITS).convert(text, None, None) == pytest.approx(value)


@pytest.mark.parametrize("text", ["20", "uJ", "-1uJ", "0uJ", "nanuJ", "infuJ", "20 uW", "20Juj"])
def test_what_is_no_energy(text):
    with pytest.raises(click.BadParameter, match="is not a positive number with one of the units"):
        Quantity(ENERGY_UNITS).convert(text, None, None)


def test_memory_and_shares():
    assert Quantity(MEMORY_UNITS).convert("1.5MB", None, None) == 1.5e6
    assert Share().convert("97.5%", None, None) == pytest.approx(0.975)
    assert Share().convert("0.975", None, None) == 0.975
    for text in ("97.5", "101%", "x", "-1%"):
        with pytest.raises(click.BadParameter, match="is not a share"):
            Share().convert(text, None, None)
