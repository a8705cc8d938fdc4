"""What the quantizer needs to know of real samples: ranges of messages and, for spikes, some of their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch

from hmdf.sim.contract import WeightedOp

from ..evaluate import evaluate
from ..graph import Array, FoldedGraph

LEAST_SAMPLES = 8
VALUES_KEPT = 100_000
"""Non-zero spike values kept per population to choose an LSB from."""


@dataclass
class Statistics:
    """Of the folded float network on the calibration samples.

    Attributes:
        input_low, input_high: smallest and largest input value.
        integral: whether every input value is an integer (event counts).
        low, high: by population, the smallest and largest message value.
        peaks: by population, the largest magnitude of its current or membrane.
        spikes: by population with spikes that training did not quantise, up to VALUES_KEPT non-zero values.
    """

    samples: int
    input_low: float
    input_high: float
    integral: bool
    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    spikes: dict[str, Array] = field(default_factory=dict)


def calibrate(
    graph: FoldedGraph, x: np.ndarray, batch: int = 16, progress: Callable[[int, int], None] | None = None
) -> Statistics:
    """Run normalised samples (N, *input shape) or (N, T, *input shape) through the folded network in float32.

    Args:
        progress: called with the number of samples done since the last call, and that of all.
    """
    x = np.asarray(x)
    statistics = Statistics(len(x), float(x.min()), float(x.max()), bool(np.all(x == np.rint(x))))
    unquantised = {
        p.name
        for p in graph.populations
        if p.dynamics.integer.facts.spikes == "graded" and p.dynamics.trained_bits is None
    }
    rng = np.random.default_rng(0)

    def observe(name: str, _t: int, message: np.ndarray) -> None:
        statistics.low[name] = min(statistics.low.get(name, np.inf), float(message.min()))
        statistics.high[name] = max(statistics.high.get(name, -np.inf), float(message.max()))
        if name in unquantised:
            values = message[message > 0]
            room = max(1, VALUES_KEPT * len(message) // (len(x) * graph.time_steps))
            kept = values if values.size <= room else rng.choice(values, room, replace=False)
            statistics.spikes[name] = np.concatenate([statistics.spikes.get(name, np.empty(0)), kept])

    for start in range(0, len(x), batch):
        outcome = evaluate(graph, x[start : start + batch], observe, torch.float32)
        for name, peak in outcome.peaks.items():
            statistics.peaks[name] = max(statistics.peaks.get(name, 0.0), peak)
        if progress is not None:
            progress(min(batch, len(x) - start), len(x))
    return statistics


def affordable(graph: FoldedGraph, macs: float) -> int:
    """How many samples `macs` multiply-accumulates are enough for; at least LEAST_SAMPLES."""
    per_step = sum(s.op.taps * prod(s.shape) for s in graph.synapses if isinstance(s.op, WeightedOp))
    return max(LEAST_SAMPLES, int(macs / max(1, per_step * graph.time_steps)))


def best_lsb(values: Array, bits: int, candidates: int = 64) -> float:
    """LSB of an unsigned quantiser of `bits` bits with the least squared error on `values`, by search.

    The candidates run from clipping nothing, max / (2^bits - 1), down to an eighth of it.
    """
    top = 2**bits - 1
    largest = float(values.max()) / top
    lsbs = largest * np.geomspace(1 / 8, 1, candidates)
    errors = [np.square(np.clip(np.floor(values / lsb + 0.5), 0, top) * lsb - values).sum() for lsb in lsbs]
    return float(lsbs[int(np.argmin(errors))])
