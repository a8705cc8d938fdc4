"""Connections that Lava's Conv does not have, as matrices for its Dense and Sparse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import Conv2d, Shape


@dataclass
class SparseMatrix:
    """Compressed rows: row r holds data[indptr[r]:indptr[r+1]] in columns indices[...]."""

    data: NDArray[np.int8]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int32]
    shape: tuple[int, int]


def banded(weight: NDArray[np.int8], padding: int, channels: int) -> NDArray[np.int8]:
    """The matrix (channels, channels) of acc[c] = sum_j weight[j] * in[c + j - padding]."""
    matrix = np.zeros((channels, channels), np.int8)
    for tap, value in enumerate(weight):
        offset = tap - padding
        rows = np.arange(max(0, -offset), min(channels, channels - offset))
        matrix[rows, rows + offset] = value
    return matrix


def sparse_convolution(op: Conv2d, source: Shape) -> SparseMatrix:
    """The matrix of a convolution, from (C, H, W) to (C_out, H_out, W_out), both flattened in C order.

    Args:
        source: (C, H, W).
    """
    weight = op.weight
    outputs, inputs, *kernel = weight.shape
    places = [
        _axis(size, tap, stride, padding, dilation)
        for size, tap, stride, padding, dilation in zip(
            source[1:], kernel, op.stride, op.padding, op.dilation, strict=True
        )
    ]
    height, width = (len(place) for place in places)
    # Every combination (output channel, y, x, input channel of the group, tap y, tap x).
    o, y, x, i, u, v = np.meshgrid(
        *map(np.arange, (outputs, height, width, inputs, *kernel)), indexing="ij", sparse=True
    )
    rows, columns = places[0][y, u], places[1][x, v]
    channel = o // (outputs // op.groups) * inputs + i
    index = (channel * source[1] + rows) * source[2] + columns
    values = np.broadcast_to(weight[o, i, u, v], index.shape)
    used = (rows >= 0) & (columns >= 0) & (values != 0)
    counts = used.reshape(outputs * height * width, -1).sum(axis=1)
    return SparseMatrix(
        data=values[used],
        indices=index[used].astype(np.int32),
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        shape=(outputs * height * width, int(np.prod(source))),
    )


def _axis(size: int, kernel: int, stride: int, padding: int, dilation: int) -> NDArray[np.int64]:
    """(outputs, taps): the input position under each tap, -1 in the padding."""
    outputs = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    place = np.arange(outputs)[:, None] * stride + np.arange(kernel) * dilation - padding
    return np.where((place >= 0) & (place < size), place, -1)
