"""One sample from its picture to its class: what a reader of the report looks at (key `sample` of out.json)."""

from __future__ import annotations

from math import ceil, isqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import INPUT, Synapse
from hmdf.sim.executor import Executor
from hmdf.sim.program import Program
from hmdf.train.data import Dataset
from hmdf.train.data.picture_files import Pictures

from ..documents.run import OneSample, Picture, SpikeMaps

PICTURE_PIXELS, MAP_PIXELS = 64, 16
"""Longest side of the picture and of a map of spikes; larger ones are summed over squares."""
MAP_STEPS = 16
"""Time-steps that maps are kept of."""


def one_sample(
    program: Program, executor: Executor, data: Dataset | Pictures, messages: np.ndarray, index: int = 0
) -> OneSample:
    """Picture, spikes of every population over time, and how the logits grow, for one sample.

    Args:
        messages: the encoded data set, (N, 1 or T, *input shape).
    """
    shown = messages[index : index + 1]
    taps = executor.run(program, shown)
    sent = {INPUT: np.broadcast_to(shown[0], (program.time_steps, *program.input.shape))}
    sent |= {name: values[0] for name, values in taps.messages.items()}
    return OneSample(
        index=index,
        label=None if data.labels is None else int(data.labels[index]),
        predicted=int(taps.logits[0].argmax()),
        picture=picture(np.asarray(data.inputs[index : index + 1])[0]),
        logits_by_step=_logits_by_step(program, sent).tolist(),
        layers=[_maps(name, values) for name, values in sent.items()],
    )


def _logits_by_step(program: Program, sent: dict[str, np.ndarray]) -> NDArray[np.float64]:
    """(T, classes): the logits after each step, as real numbers."""
    head = program.by_name[program.readout.source]
    assert isinstance(head, Synapse)
    gains = head.op.accumulate(sent[head.source].astype(np.int64)) + program.readout.bias
    return gains.cumsum(axis=0) * program.readout.scale


def _maps(name: str, messages: np.ndarray) -> SpikeMaps:
    """Spikes (non-zero messages) of every step, and where they are: |message| summed over channels, per square."""
    maps = np.stack([_map(step) for step in np.abs(messages[:MAP_STEPS].astype(np.int64))])
    steps, height, width = maps.shape
    spikes = np.count_nonzero(messages.reshape(len(messages), -1), axis=1)
    return SpikeMaps(name, spikes.tolist(), (steps, height, width), maps.ravel().tolist())


def _map(values: np.ndarray) -> np.ndarray:
    """(C, H, W) to at most (MAP_PIXELS, MAP_PIXELS); features without a place are laid out row by row."""
    if values.ndim == 3 and values.shape[1] * values.shape[2] > 1:
        return _squares(values.sum(axis=0), MAP_PIXELS)
    flat = values.ravel()
    side = isqrt(len(flat) - 1) + 1
    rows = ceil(len(flat) / side)
    return _squares(np.pad(flat, (0, rows * side - len(flat))).reshape(rows, side), MAP_PIXELS)


def _squares(plane: np.ndarray, longest: int) -> np.ndarray:
    """Sums over squares, as small as keeps the longest side within `longest`."""
    size = ceil(max(plane.shape) / longest)
    height, width = (-(-extent // size) for extent in plane.shape)
    padded = np.pad(plane, ((0, height * size - plane.shape[0]), (0, width * size - plane.shape[1])))
    return padded.reshape(height, size, width, size).sum(axis=(1, 3))


def picture(raw: np.ndarray) -> Picture | None:
    """A raw sample as 8-bit pixels: grey, RGB, or events (red: first polarity, blue: second, summed over frames).

    None for a sample that is no picture.
    """
    if raw.ndim == 4:
        raw = raw.astype(np.float64).sum(axis=0)
    if raw.ndim != 3 or len(raw) not in (1, 2, 3) or raw.size == 0:
        return None
    planes = np.stack([_squares(plane, PICTURE_PIXELS) for plane in raw.astype(np.float64)], axis=-1)
    low = min(0.0, float(planes.min()))
    pixels = np.rint((planes - low) / max(float(planes.max()) - low, 1e-12) * 255).astype(int)
    kinds: tuple[Literal["grey", "events", "rgb"], ...] = ("grey", "events", "rgb")
    height, width, channels = pixels.shape
    return Picture(kinds[channels - 1], (height, width, channels), pixels.ravel().tolist())
