"""A NIR graph as plain data: every nested graph opened, names that a Program can have, nodes in topological order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from hmdf.sim.contract import INPUT
from hmdf.sim.finding import Finding

from ..errors import CompileError
from .cycles import in_cycles, late_edges

DEEPEST = 16
"""Graphs within graphs, at most."""
PASSED_ON = "Identity"


@dataclass(frozen=True)
class Unit:
    """A node of NIR.

    Attributes:
        name: in the graph, with those of the graphs around it: "block.lif".
        kind: its class in NIR, "LIF"; "Identity" for the inputs and outputs of nested graphs.
        values: its parameters, as NIR has them.
        sources: names of the nodes that it reads, sorted.
        late: those of them, spiking neurons, whose spikes of the step before it reads: edges that go back.
    """

    name: str
    kind: str
    values: Mapping[str, Any]
    sources: tuple[str, ...] = ()
    late: frozenset[str] = frozenset()


@dataclass
class _Opened:
    kinds: dict[str, str] = field(default_factory=dict)
    values: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    edges: set[tuple[str, str]] = field(default_factory=set)


def is_graph(value: object) -> bool:
    """Whether it is a graph of the package nir."""
    return type(value).__module__.partition(".")[0] == "nir" and hasattr(value, "nodes") and hasattr(value, "edges")


def units_of(graph: Any) -> tuple[Unit, ...]:
    """The nodes of a graph in topological order, but for what is read of the step before.

    Raises:
        CompileError: an edge without a node, no or more than one input or output, or a cycle that no spikes of the step
            before break, each with its name.
    """
    opened = _Opened()
    findings = [*_open(graph, "", 0, opened)]
    ends = {kind: sorted(n for n, k in opened.kinds.items() if k == kind) for kind in ("Input", "Output")}
    for kind, names in ends.items():
        if len(names) != 1:
            has = f"has {len(names)} {kind} nodes ({', '.join(names)})" if names else f"has no {kind} node"
            findings.append(Finding("graph", has, f"a program has one {kind.lower()}"))
    if findings:
        raise CompileError(findings)
    sources: dict[str, set[str]] = {name: set() for name in opened.kinds}
    for source, target in opened.edges:
        sources[target].add(source)
    if in_cycles(sources):
        _pass_through(sources, {name for name, kind in opened.kinds.items() if kind == PASSED_ON})
    late = late_edges(sources, opened.kinds, ends["Input"][0])
    in_step = {n: sorted(source for source in sources[n] if (source, n) not in late) for n in sorted(sources)}
    try:
        order = [*TopologicalSorter(in_step).static_order()]
    except CycleError as error:
        path = " -> ".join(reversed(error.args[1]))
        fix = "only spiking neurons can be read at the step before, by a node that leads to earlier ones alone"
        raise CompileError([Finding(error.args[1][0], f"is in a cycle: {path}", fix)]) from None
    wanted = _ancestors(ends["Output"][0], sources)
    return tuple(
        Unit(
            name,
            opened.kinds[name],
            opened.values[name],
            tuple(sorted(sources[name])),
            frozenset(source for source in sources[name] if (source, name) in late),
        )
        for name in order
        if name in wanted
    )


def _open(graph: Any, prefix: str, depth: int, opened: _Opened) -> list[Finding]:
    """Put the nodes and edges of `graph` into `opened`, those of nested graphs too."""
    if depth > DEEPEST:
        return [Finding(prefix or "graph", f"graphs are nested more than {DEEPEST} deep", "flatten them")]
    entries: dict[str, list[str]] = {}
    exits: dict[str, list[str]] = {}
    findings: list[Finding] = []
    for key, node in graph.nodes.items():
        name, kind = f"{prefix}{key}", type(node).__name__
        if is_graph(node):
            findings += _open(node, f"{name}.", depth + 1, opened)
            inner = {f"{name}.{k}": type(n).__name__ for k, n in node.nodes.items()}
            entries[key] = [n for n, k in inner.items() if k == "Input"]
            exits[key] = [n for n, k in inner.items() if k == "Output"]
            continue
        nested = prefix and kind in ("Input", "Output")
        opened.kinds[name] = PASSED_ON if nested else kind
        opened.values[name] = {} if nested else vars(node)
        entries[key] = exits[key] = [name]
    for edge in graph.edges:
        missing = [end for end in edge if end not in graph.nodes]
        if missing:
            problem = f"has an edge {' -> '.join(map(str, edge))}, but no node '{missing[0]}'"
            findings.append(Finding(prefix.rstrip(".") or "graph", problem, "name nodes that are there"))
            continue
        opened.edges |= {(a, b) for a in exits[edge[0]] for b in entries[edge[1]]}
    return findings


def _pass_through(sources: dict[str, set[str]], names: set[str]) -> None:
    """Let who reads a node of `names` read what that reads: of its readers' edges, some may go back and some not."""
    for name in sorted(names):
        read = sources.pop(name)
        for other in sources.values():
            if name in other:
                other.remove(name)
                other |= read - {name}


def _ancestors(name: str, sources: Mapping[str, set[str]]) -> set[str]:
    """The node and everything it depends on."""
    found, waiting = {name}, [name]
    while waiting:
        new = sources[waiting.pop()] - found
        found |= new
        waiting += new
    return found


class NodeNames:
    """Names that nodes of a Program can have, from those of NIR: "0" becomes "conv2d_0"."""

    def __init__(self) -> None:
        self.taken = {INPUT, "readout"}

    def of(self, unit: Unit, suffix: str = "") -> str:
        """A name that is not taken yet."""
        parts = [re.sub(r"[^A-Za-z0-9_]", "_", part)[:60] or "_" for part in unit.name.split(".")]
        wanted = ".".join(parts)[-120:].strip(".")
        if not re.match(r"[A-Za-z_]", wanted):
            wanted = f"{unit.kind.lower()}_{wanted}"
        wanted += suffix
        name, count = wanted, 1
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name


def array_of(value: Any) -> Any:
    """A parameter in float64; exporters put tensors where NIR has arrays."""
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"an array of {array.dtype}")
    return array.astype(np.float64)
