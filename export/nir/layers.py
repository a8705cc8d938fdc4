"""From a NIR graph to a LayerGraph: what every node becomes is in nodes/, a file a kind."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from hmdf.sim.contract import INPUT, Shape
from hmdf.sim.finding import Finding

from ..errors import CompileError
from ..graph import BeforeLayer, FlattenLayer, InputLayer, LayerGraph, SumLayer
from .building import Building
from .dialect import Dialect
from .nodes import MAKERS
from .parameters import Unsupported, canonical, extents_of
from .units import PASSED_ON, Unit, units_of

_KINDS = ", ".join(kind for kind in MAKERS if kind != PASSED_ON)
SUPPORTED = f"supported are Input, {_KINDS}, and graphs of these; Delay of whole time steps"


def layers_of(graph: Any, dialect: Dialect, time_steps: int, shape: Shape | None = None) -> LayerGraph:
    """The layers of a NIR graph with T = `time_steps`.

    Args:
        shape: of a sample at one time-step, (C, H, W) or (F,); that of the graph's Input when absent.

    Raises:
        CompileError: with a finding for every node that cannot be compiled.
    """
    made, units = Building(dialect), units_of(graph)
    findings: list[Finding] = []
    failed: set[str] = set()
    if any(unit.late for unit in units):
        made.later, findings = _shapes_without_late(units, dialect, shape)
        failed |= {unit.name for unit in units if unit.late - set(made.later)}
    for unit in units:
        if unit.name in failed or failed & set(unit.sources):
            failed.add(unit.name)
            if unit.kind in MAKERS:  # Its shape is unknown; whether its kind is supported is known.
                continue
        try:
            made.current[unit.name] = _make(made, unit, shape)
        except Unsupported as error:
            findings.append(Finding(unit.name, error.problem, error.fix))
            failed.add(unit.name)
    if findings:
        raise CompileError(list(dict.fromkeys(findings)), SUPPORTED)
    layers = (
        replace(layer, sources=tuple(made.current[source] for source in layer.sources))
        if isinstance(layer, BeforeLayer)
        else layer
        for layer in made.layers
    )
    return LayerGraph(time_steps, tuple(layers), made.output)


def _shapes_without_late(
    units: tuple[Unit, ...], dialect: Dialect, shape: Shape | None
) -> tuple[dict[str, Shape], list[Finding]]:
    """The shapes of all nodes, from the network without what it reads of the step before; and what is wrong in it."""
    made, findings = Building(dialect), []
    for unit in units:
        kept = tuple(source for source in unit.sources if source in made.current and source not in unit.late)
        if not kept and unit.kind != "Input":
            continue
        try:
            made.current[unit.name] = _make(made, replace(unit, sources=kept, late=frozenset()), shape)
        except Unsupported as error:
            findings.append(Finding(unit.name, error.problem, error.fix))
    return {name: made.shapes[layer] for name, layer in made.current.items()}, findings


def input_extents(graph: Any) -> tuple[int, ...]:
    """The extents of the graph's input, as its writer has them: a batch and time-steps may lead them.

    Raises:
        CompileError: it has no input, or its extents are not given.
    """
    unit = next(unit for unit in units_of(graph) if unit.kind == "Input")
    try:
        return extents_of(unit.values["input_type"].get("input"))
    except Unsupported as error:
        raise CompileError([Finding(unit.name, error.problem, error.fix)]) from None


def _make(made: Building, unit: Unit, shape: Shape | None) -> str:
    """Add the layers of a node; returns the name of the last."""
    if unit.kind == "Input":
        return _input(made, unit, shape)
    if unit.kind not in MAKERS:
        raise Unsupported(f"{unit.kind} is not supported", "replace it by a supported node")
    if not unit.sources:
        raise Unsupported(f"{unit.kind} reads nothing", "connect it to the input")
    sources = tuple(_before(made, unit, s) if s in unit.late else made.current[s] for s in unit.sources)
    source = sources[0]
    if len(sources) > 1:
        shapes = {made.shapes[s] for s in sources}
        if len(shapes) > 1:
            raise Unsupported(f"it adds values of the shapes {sorted(shapes)}", "make their shapes equal")
        source = made.add(SumLayer(made.names.of(unit, "_sum"), made.shapes[source], sources))
    return MAKERS[unit.kind](made, unit, source)


def _before(made: Building, unit: Unit, source: str) -> str:
    """The spikes of `source` at the step before, for a node."""
    name = made.add(BeforeLayer(made.names.of(unit, "_before"), made.later[source], (source,)))
    made.binary.add(name)
    made.before.add(name)
    return name


def _input(made: Building, unit: Unit, shape: Shape | None) -> str:
    """The input in the samples' shape; flattened where the graph has it flat. Its extents may lead with a batch."""
    extents = extents_of(unit.values["input_type"].get("input"))
    size = prod(extents) if shape is None else prod(shape)
    fitting = [extents[i:] for i in range(len(extents)) if prod(extents[i:]) == size]
    own = canonical(fitting[0]) if fitting else None
    if own is None or (shape not in (None, own) and len(own) > 1 and prod(own) != max(own)):
        raise Unsupported(f"takes {extents}, but the samples are {shape} at a time step", "give samples of its shape")
    made.names.of(unit)
    name = made.add(InputLayer(INPUT, shape or own, ()))
    if shape in (None, own):
        return name
    return made.add(FlattenLayer(made.names.of(unit, "_flat"), (prod(own),), (name,)))
