"""The text forms of the compiler's graphs, beside that of a Program (`hmdf.sim.listing`): a line or two per node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from hmdf.sim import listing as programs
from hmdf.sim.listing import array_text, by, op_text, reads
from hmdf.sim.program import Program

from .graph import (
    Array,
    FloatDynamics,
    FoldedGraph,
    FoldedPopulation,
    FoldedSynapse,
    Layer,
    LayerGraph,
    PoolLayer,
    WeightLayer,
)


def listing(graph: LayerGraph | FoldedGraph | Program, values: int = 4) -> str:
    """A graph, or a Program, as text.

    Args:
        values: arrays with at most so many values are written out; others as shape and range.
    """
    if isinstance(graph, Program):
        return programs.listing(graph, values)
    lines = _layers(graph, values) if isinstance(graph, LayerGraph) else _folded(graph, values)
    return "\n".join(lines) + "\n"


def _layers(graph: LayerGraph, values: int) -> Iterator[str]:
    yield f"layers: {graph.time_steps} steps, the logits are {graph.output}"
    for layer in graph.layers:
        yield f"{layer.name} {by(layer.shape)} = {_layer(layer, values)}"


def _layer(layer: Layer, values: int) -> str:
    sources = ", ".join(layer.sources)
    own = [field.name for field in fields(layer) if field.name not in ("name", "shape", "sources", "op")]
    if isinstance(layer, WeightLayer | PoolLayer):
        head = op_text(layer.op, sources, values)
    else:
        head = type(layer).__name__.removesuffix("Layer").lower() + (f"({sources})" if sources else "")
    return ", ".join([head, *_shown(layer, own, values)])


def _folded(graph: FoldedGraph, values: int) -> Iterator[str]:
    yield f"folded: {graph.time_steps} steps, input {by(graph.input_shape)}"
    for node in graph.nodes:
        if isinstance(node, FoldedSynapse):
            yield f"{node.name} {by(node.shape)} = {op_text(node.op, reads(node), values)}"
            continue
        yield f"{node.name} {by(node.shape)}:"
        yield f"    I = {_current(node, values)}"
        yield f"    {_dynamics(node.dynamics, values)}"
    logits = _term(graph.readout_gain, graph.readout, values)
    yield f"logits = sum over t of ({' + '.join([logits, *_bias(graph.readout_bias, values)])})"


def _current(node: FoldedPopulation, values: int) -> str:
    current = " + ".join([*(_term(p.gain, p.source, values) for p in node.ports), *_bias(node.bias, values)])
    if node.gate is not None:
        current = " + ".join([f"({current}) * {node.gate.source}", *_bias(node.gate.bias, values)])
    return current


def _dynamics(dynamics: FloatDynamics, values: int) -> str:
    shown = [*_shown(dynamics, [field.name for field in fields(dynamics)], values)]
    return type(dynamics).__name__.removeprefix("Float") + (f": {', '.join(shown)}" if shown else "")


def _shown(holder: Any, names: list[str], values: int) -> Iterator[str]:
    for name in names:
        value = getattr(holder, name)
        if isinstance(value, FloatDynamics):
            yield _dynamics(value, values)
        elif isinstance(value, np.ndarray):
            yield f"{name} {array_text(value, values)}"
        elif hasattr(value, "__dataclass_fields__"):
            inner = _shown(value, [field.name for field in fields(value)], values)
            yield f"{name} ({', '.join(inner)})"
        elif value is not None:
            yield f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"


def _term(gain: Array, source: str, values: int) -> str:
    return source if np.all(gain == 1) else f"{array_text(gain, values)} * {source}"


def _bias(bias: Array, values: int) -> list[str]:
    return [array_text(bias, values)] if bias.any() else []
