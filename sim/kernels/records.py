"""The rows of a plan's tables, as NumPy record types, and how compiled code reads them.

All integers are 64 bits wide. Offsets and strides count elements of the pool or arena that they point into.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract.parameters import Parameter, kinds_of
from .neurons import NUMBERS
from .pointers import rows_of

MESSAGE, CONVOLUTION, CHANNEL_CONVOLUTION, SUM_POOL, MAX_POOL = range(5)
"""What a port reads."""
ARENAS: tuple[type[np.integer], ...] = (np.uint8, np.int16, np.int32)
"""What messages are stored as, by number of the arena."""

PARAMETER = np.dtype([("offset", np.int64), ("step", np.int64)])
"""Where a (T or 1, C or 1) parameter is in the pool, one element per channel; `step` = 0 if all steps are equal."""


def _record(text: str, *more: tuple[str, Any]) -> np.dtype:
    """Fields as lines of `name: what it is`; of PARAMETER where the name is in brackets."""
    fields: list[tuple[str, Any]] = []
    for line in text.strip().splitlines():
        name = line.split(":")[0].strip()
        fields.append((name.strip("[]"), PARAMETER if name.startswith("[") else np.int64))
    return np.dtype([*fields, *more])


def _fields_of_dynamics() -> list[tuple[str, Any]]:
    """One field for each field of any kind of neuron, under its own name: parameter, shift, or a table's offset."""
    kinds = {name: kind for dynamics in NUMBERS for name, kind in kinds_of(dynamics).items()}
    return [(name, PARAMETER if isinstance(kind, Parameter) else np.int64) for name, kind in kinds.items()]


BUFFER = _record("""
    arena: which of ARENAS
    offset: of the first message that is read at step 0
    sample: elements from one sample to the next
    step: elements from one time-step to the next; 0 if all steps are equal, and stored once
    steps: time-steps stored, 1 or T
    row: elements from one row of pixels to the next
    pixel: elements from one pixel to the next: the channels, rounded up
    channels: messages of a pixel
    width: pixels of a row, without its frame
    plane: elements of one step with its frame
    corner: elements of the frame before the first message
""")
PORT = _record("""
    kind: what is read: MESSAGE, CONVOLUTION, ...
    source: the buffer read
    shift: of the product with the multiplier
    split: bits by which the product is split to fit 32 (widths.py); 0 if it fits
    dot: how a patch meets its weights (paths/path.py); 0 in 64 bits
    pixels: offsets of all output pixels' patches, or of the messages, from the buffer's first message
    runs: offsets of a patch's contiguous runs
    run_count: runs of a patch
    run_length: messages of a run
    run_weights: bytes of weights of a run
    group_inputs: channels from one group's patch to the next; 0 without groups
    group_outputs: outputs of a group
    weight: the first weight
    weight_row: weights of a patch element (64 bits), of a block of outputs (32 bits)
    point_channels: of a patch's pixel where a 3x3 convolution is multiplied at points (winograd.py); 0 where it is not
    point_dot: as dot, of a point
    point_weight: the first weight at the points
    point_row: bytes of weights of a point, of a block of outputs
    point_rows: offsets of the rows that are multiplied
    point_added: to all points but one, lest they are negative
    point_corrections: for what was added, of each of 2x2 pixels, in the parameters
    point_corrections_row: elements from one pixel's to the next
    look_planes: planes of bits of the weights, where they are looked up (look_ups.py); 0 where they are not
    look_weight: the first of these
    look_row: bytes of these, of a block of outputs
    look_reach: most messages from the first to the last that a tile reads
    kernel_y: of a pool
    kernel_x: of a pool, or of a convolution over channels
    stride_y: of a pool
    stride_x: of a pool
    padding_y: of a pool
    padding_x: of a pool, or of a convolution over channels
    source_height: pixels of the source that a pool reads
    source_width: pixels of the source that a pool reads
    [multiplier]: of the port
""")
POPULATION = _record(
    """
    narrow: 1 in 32-bit lanes, 0 in 64 bits
    buffer: where its messages go
    dynamics: neurons.NUMBERS, or neurons.READOUT
    states: how many a neuron has
    first_port: the first of its ports
    ports: how many it has
    channels: of its shape
    width: pixels of a row
    pixels: of its shape
    tile_pixels: of a tile
    tile_rows: pixels of a row of matrix tiles (amx.py); 0 where there are none
    steps: time-steps computed, 1 or T
    positions: offsets of its pixels from the buffer's first message
    state_clamps: whether a clamp of the state can fire
    message_clamps: whether a clamp of the message can fire
    low: smallest message
    high: largest message
    weight_bytes: weights that its ports read
    classes: class of each pixel: what a message there causes is the same for all pixels of a class
    class_count: how many classes there are
    count_row: elements from one class's counts to the next
    first_consumer: the first synapse counted on its messages
    consumers: how many there are
    loop_end: the last population of those, from this one on, that feed each other over time-steps; 0 for none
    kept: where the states of its tiles are kept from step to step; only in a loop
    kept_sample: elements from one sample's states to the next's
    gate: the buffer that gates it, or -1
    gate_shift: of the product with the gate
    gate_split: as a port's split
    leak_split: as a port's split, for all products with a state
    [bias]: added to the sum of the ports
    [gate_bias]: added after the gate
    [initial_v]: its state v, or the last of its states, before the first step
    [initial_d]: its state d, or the one before the last, before the first step
    """,
    *_fields_of_dynamics(),
)
CONSUMER = _record("""
    synapse: index of the synapse
    delay: steps from a message to what it causes
    fanout: operations that a message causes, by class and channel
""")

buffer_row, population_row, port_row, consumer_row = (rows_of(dtype) for dtype in (BUFFER, POPULATION, PORT, CONSUMER))


def records(dtype: np.dtype, rows: list[dict[str, Any]]) -> np.ndarray:
    """Rows given by name; what a row does not name is 0."""
    table = np.zeros(len(rows), dtype=dtype)
    for record, row in zip(table, rows, strict=True):
        for field, value in row.items():
            record[field] = value
    return table
