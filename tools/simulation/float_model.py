"""The float network that a program came from, beside the program: accuracy, agreement, quantization noise."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hmdf.export.nir import is_graph
from hmdf.sim.errors import InputError
from hmdf.sim.program import Program

from ..console import progress
from ..documents.run import Accuracy, NoiseRow
from ..model import TrainedModel
from .blocks import Totals
from .feed import Feed

if TYPE_CHECKING:
    from nir import NIRGraph
    from torch import nn

    from hmdf.export.graph import FoldedGraph

NOISE_SAMPLES = 128
"""Samples that quantization noise is measured on, at most."""
BATCH = 64


def accuracies(
    program: Program, module: nn.Module | NIRGraph, feed: Feed, labels: NDArray[np.int64] | None, totals: Totals
) -> Accuracy:
    """Accuracy of both, in the program's number of time-steps, and how often they agree."""
    if is_graph(module):
        expected = _folded_predictions(_folded_nir(program, module, feed.x(0, 1)), feed)
    else:
        expected = _predictions(module, feed, program.time_steps)
    return Accuracy(
        floating=None if labels is None else float(np.mean(expected == labels)),
        integer=totals.accuracy(labels),
        agreement=float(np.mean(expected == totals.predictions)),
    )


def extend(path: Path, module: nn.Module | NIRGraph, steps: int) -> None:
    """Let the float network go on to `steps` time-steps, in place, where that is more than it was trained with.

    Raises:
        InputError: a parameter is not the same at all steps, and that of the steps to come is not known.
    """
    if is_graph(module):
        return
    from hmdf.train.errors import ModelError
    from hmdf.train.neurons import temporal_modules

    for name, temporal in temporal_modules(module):
        try:
            temporal.extend(steps)
        except ModelError as error:
            problem = f"{path}: {steps} time-steps of the float network: {name}.{error}"
            raise InputError(f"{problem}; leave --against out, or run {temporal.time_steps} steps at most") from None


def _predictions(module: nn.Module, feed: Feed, steps: int) -> np.ndarray:
    """The classes of the float network for the samples of a feed."""
    import torch

    from hmdf.train.online import run

    predictions = []
    with torch.inference_mode(), progress("float model", len(feed)) as advance:
        for start in range(0, len(feed), BATCH):
            part = torch.from_numpy(feed.x(start, start + BATCH).astype(np.float32))
            predictions.append(run(module, part, steps).sum(0).argmax(1).numpy())
            advance(len(part))
    return np.concatenate(predictions)


def _folded_predictions(graph: FoldedGraph, feed: Feed) -> np.ndarray:
    """The same of a folded graph."""
    from hmdf.export.evaluate import evaluate

    predictions = []
    with progress("float model", len(feed)) as advance:
        for start in range(0, len(feed), BATCH):
            x = feed.x(start, start + BATCH)
            predictions.append(evaluate(graph, x).logits.argmax(1))
            advance(len(x))
    return np.concatenate(predictions)


def _folded_nir(program: Program, graph: NIRGraph, x: np.ndarray) -> FoldedGraph:
    """A NIR graph in floats, its steps as the program's metadata say."""
    from hmdf.export.nir.dialect import dialect_from
    from hmdf.export.nir.read import read_graph
    from hmdf.export.passes.fold import fold

    dialect = dialect_from(program.metadata.network)
    framed = program.input.timing == "frames"
    return fold(read_graph(graph, x, dialect, None if framed else program.time_steps).layers)


def noise(program: Program, path: Path, trained: TrainedModel, feed: Feed, steps: int) -> list[NoiseRow]:
    """The noise of every population; None decibels where the program is exact.

    Args:
        path: of the trained model, for messages.
        steps: T of the program as it was compiled.

    Raises:
        InputError: it is another network.
    """
    from hmdf.export.fidelity import measure

    graph = replace(_float_graph(program, path, trained, feed.x(0, 1), steps), time_steps=program.time_steps)
    x = feed.x(0, NOISE_SAMPLES)
    with progress("quantization noise", len(x)) as advance:
        rows = measure(program, graph, x, progress=advance)
    return [NoiseRow(row.population, row.bits, row.lsb, _finite(row.sqnr), _finite(row.own_sqnr)) for row in rows]


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _float_graph(program: Program, path: Path, trained: TrainedModel, x: np.ndarray, steps: int) -> FoldedGraph:
    """The float network whose populations the program has; it may have more of them (its spikes in single bits)."""
    import torch

    from hmdf.export.passes.fold import fold
    from hmdf.export.passes.merge_pools import merge_pools
    from hmdf.export.passes.trace import trace

    if trained.input_shape not in (None, program.input.shape):
        raise InputError(f"{path}: takes samples of {trained.input_shape}, the program {program.input.shape}")
    if is_graph(trained.module):
        graph = replace(_folded_nir(program, trained.module, x), time_steps=steps)
    else:
        example = torch.from_numpy(x.astype(np.float32))
        graph = fold(trace(trained.module, example[:, 0] if program.input.timing == "frames" else example))
    own = {(p.name, p.shape) for p in program.populations}
    for form in (graph, merge_pools(graph)):
        populations = {(p.name, p.shape) for p in form.populations}
        if populations <= own and (form.time_steps, form.readout_classes) == (steps, program.classes):
            return form
    raise InputError(f"{path}: is not the network that the program was compiled from: their layers differ")
