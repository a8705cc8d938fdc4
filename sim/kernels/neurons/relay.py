"""The current is the message."""

from __future__ import annotations

from ...contract import Relay
from ..compiling import kernel

KIND = Relay


@kernel
def fire(population, model, tile, t, scratch):
    return 0


fire_wide = fire
