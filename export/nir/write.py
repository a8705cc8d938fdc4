"""A Program as a NIR graph, in a time step of 1; compiled again, it sends the same messages."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from hmdf.extras import require
from hmdf.sim.contract import INPUT, Population, Synapse, WeightedOp
from hmdf.sim.files import write_whole
from hmdf.sim.finding import Finding
from hmdf.sim.program import Program

from ..errors import CompileError
from .dialect import WRITTEN
from .neurons import WRITERS
from .units import units_of
from .written import Inexpressible, Written, weighted


def to_nir(program: Program) -> Any:
    """The program as a graph of the package nir, whose metadata say how its steps are meant (dialect "hmdf").

    Raises:
        CompileError: with a finding for every node that NIR cannot express.
        MissingExtraError: the package nir is not installed.
    """
    nir = require("nir", "NIR")
    graph = Written(nir, program)
    graph.ends[INPUT] = graph.add(INPUT, nir.Input(np.array(program.input.shape)))
    findings = []
    for population in program.populations:
        try:
            graph.ends[population.name] = _population(graph, population)
        except Inexpressible as error:
            graph.ends[population.name] = INPUT
            findings.append(Finding(population.name, f"NIR has no node for {error}", ""))
    try:
        end = _readout(graph)
    except Inexpressible as error:
        end = INPUT
        findings.append(Finding(program.readout.source, f"NIR has no node for {error}", ""))
    resets = {reset for reset, _ in graph.resets}
    above = {above for _, above in graph.resets if above is not None}
    if len(resets) > 1 or len(above) > 1:
        findings.append(Finding("program", "its neurons differ in their reset, which NIR does not say", ""))
    graph.add("readout", nir.Output(np.array([program.classes])), end)
    metadata = {WRITTEN: f"{next(iter(resets), 'value')},{'above' if above == {True} else 'at'}"}
    made = nir.NIRGraph(graph.nodes, graph.edges, metadata, type_check=False)
    if not findings and graph.back != {(source, unit.name) for unit in units_of(made) for source in unit.late}:
        findings.append(Finding("program", "NIR would not read the step before where it does", ""))
    if findings:
        raise CompileError(findings)
    return made


def save_nir(program: Program, path: Path) -> None:
    """Write `to_nir` to a file, whole or not at all."""
    content = BytesIO()
    require("nir", "NIR").write(content, to_nir(program))
    write_whole(path, content.getvalue())


def _readout(graph: Written) -> str:
    """What the output reads: the logits, or the spikes that they count."""
    program = graph.program
    readout = program.readout
    node = program.by_name[readout.source]
    assert isinstance(node, Synapse)
    scale = readout.scale / program.message_of(node.source).scale
    weight = node.op.weight if isinstance(node.op, WeightedOp) else np.zeros((0, 0))
    identity = weight.shape == (program.classes,) * 2 and np.array_equal(weight, np.eye(program.classes))
    if identity and scale == 1 and not readout.bias.any():
        return graph.ends[node.source]
    bias = np.broadcast_to(readout.bias * readout.scale, (program.classes,)).copy()
    return weighted(graph, node, np.full(program.classes, scale), bias)


def _population(graph: Written, population: Population) -> str:
    """The population's currents, each in units of the threshold, and its neuron."""
    for what, array, _ in population.parameters():
        if array.shape[0] > 1:
            raise Inexpressible(f"{what} that differs between time-steps")
    if population.gate is not None:
        raise Inexpressible("a gate")
    if population.initial_state:
        raise Inexpressible("a state that does not start at 0")
    kind = population.dynamics.kind()
    if kind not in WRITERS:
        raise Inexpressible(f"a {kind} neuron")
    return WRITERS[kind](graph, population)
