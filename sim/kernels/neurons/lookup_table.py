"""A table of 256 messages, looked up one by one: there is no form in 32-bit lanes."""

from __future__ import annotations

from ..compiling import kernel
from ..rounding import rshift
from ..tiles import LANES

fire = None


@kernel
def fire_wide(population, model, tile, t, scratch):
    current = scratch.current
    saturated = 0
    for i in range(tile.pixels):
        for c in range(tile.lanes):
            x = rshift(current[i * LANES + c], population.index_shift)
            index = min(max(x, -128), 127)
            saturated += index != x
            current[i * LANES + c] = model.lookups[population.table + index + 128]
    return saturated
