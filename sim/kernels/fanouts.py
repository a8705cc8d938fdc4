"""How many operations a message causes, by class of pixel: what the counts of non-zero messages are weighted with."""

from __future__ import annotations

import numpy as np

from ..contract import Conv2d, Linear, Pool, Synapse
from ..program import Program
from .layout import Layout, padded


def pixel_classes(program: Program, layout: Layout, name: str) -> tuple[np.ndarray, int]:
    """Pixels by what a message there causes: the same at every pixel of a class. (H*W,) and their number."""
    rows, columns = _axis_classes(program, layout, name, 0), _axis_classes(program, layout, name, 1)
    row_classes, column_classes = int(rows.max()) + 1, int(columns.max()) + 1
    return (rows[:, None] * column_classes + columns[None, :]).reshape(-1), row_classes * column_classes


def fanout_by_class(program: Program, layout: Layout, synapse: Synapse, classes: np.ndarray) -> np.ndarray:
    """Operations per message of the synapse's source, (classes, channels rounded up)."""
    representatives = np.unique(classes, return_index=True)[1]
    channels = layout.shapes[synapse.source][0]
    per_message = synapse.op.fanout(program.shapes[synapse.source]).reshape(channels, -1)[:, representatives]
    return padded(per_message.T, layout.buffers[synapse.source]["pixel"])


def _axis_classes(program: Program, layout: Layout, name: str, axis: int) -> np.ndarray:
    """Rows (axis 0) or columns (axis 1) of a population by the kernel taps that reach them, over its consumers."""
    size = layout.shapes[name][1 + axis]
    reached = [np.zeros((size, 1), dtype=np.int64)]
    for synapse in program.synapses:
        if synapse.source != name or not program.carries_spikes(synapse):
            continue
        if isinstance(synapse.op, Linear):
            reached.append(np.eye(size, dtype=np.int64))
        elif isinstance(synapse.op, Conv2d | Pool):
            reached.append(synapse.op.window.reaching_taps(axis, size))
    return np.unique(np.concatenate(reached, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
