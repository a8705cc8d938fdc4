"""Dot products of patches with weights: the inner loop of every convolution and linear layer.

A tile's accumulators are a few pixels x OUTPUTS channels. A patch is a few contiguous runs of the source; per step of
the loop, a position, four bytes of every pixel's patch (four 8-bit or two 16-bit messages) are broadcast and meet the
weights of as many channels as the registers hold. What does it is the path's own: paths/.
"""

from __future__ import annotations

from numba.extending import overload

_ONLY_COMPILED = "only compiled code calls this"


def dot_tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
    """Accumulators of pixels x lanes, at `sums`; offsets count `bytes_` bytes.

    Whole groups of pixels and channels are computed, so that offsets and accumulators are padded.

    Args:
        rows: pixels of a tile, see paths/amx.py.
    """
    raise NotImplementedError(_ONLY_COMPILED)


def dot_rows(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
    """Accumulators of rows x lanes, at `sums`, of rows `apart` bytes from each other, which `offsets` are multiples of.

    Args:
        row_bytes: a multiple of 32; with AMX of 64, and a whole tile of rows is computed.
    """
    raise NotImplementedError(_ONLY_COMPILED)


def add_events(path, kind, events, count, weights, accumulators):
    """Accumulators of one pixel += the values of `count` events x their weights."""
    raise NotImplementedError(_ONLY_COMPILED)


def look_up(
    path, planes, source, count, fresh, tables, offsets, runs, run_count, run_bytes, weights, whole, sums, pixels
):
    """Accumulators of pixels x OUTPUTS, at `sums`, by look-ups; `source` is where the patch of the first pixel begins.

    Args:
        planes: of the weights; count: messages from `source` on that are read; fresh: whether to make `tables` of them.
        whole: where the sums of all messages of each patch are, or are put with the tables; of one plane.
    """
    raise NotImplementedError(_ONLY_COMPILED)


@overload(dot_tile)
def _dot_tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
    return path.instance_class.tile()


@overload(dot_rows)
def _dot_rows(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
    return path.instance_class.rows()


@overload(add_events)
def _add_events(path, kind, events, count, weights, accumulators):
    return path.instance_class.events()


@overload(look_up)
def _look_up(
    path, planes, source, count, fresh, tables, offsets, runs, run_count, run_bytes, weights, whole, sums, pixels
):
    return path.instance_class.look_ups()
