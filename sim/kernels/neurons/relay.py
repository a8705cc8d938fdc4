"""The current is the message."""

from __future__ import annotations

from ..compiling import kernel


@kernel
def fire(population, model, tile, t, scratch):
    return 0


fire_wide = fire
