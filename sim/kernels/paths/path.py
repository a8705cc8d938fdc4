"""What every path knows of tiles."""

OUTPUTS = 32
"""Output channels of a tile: those of a block of weights."""
ROW = 4 * OUTPUTS
"""Bytes of weights that a position meets, and of a pixel's accumulators."""
