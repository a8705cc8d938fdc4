"""The network as a graph: one row per node, edges that skip rows in lanes beside it."""

from __future__ import annotations

from typing import Any

from hmdf.hw_targets.place.layers import READOUT
from hmdf.sim.contract import INPUT
from hmdf.tools.reporting.assemble import every_node

from .markup import Markup, Numbers, count, el, percent

ROW, LANE, MOST_LANES = 44, 14, 12
BITS = {1: "1 bit", 2: "ternary"}


def network(numbers: Numbers) -> Markup:
    """Rows in the order of execution; the box scrolls when the network is deep."""
    document = numbers.document
    order = {name: row for row, name in enumerate(every_node(document))}
    lanes = _lanes(document["edges"], order)
    used = min(max(lanes.values(), default=-1) + 1, MOST_LANES)
    spine = used * LANE + 12
    width, height = spine + 14, ROW * len(order)
    shapes = [_edge(edge, order, lanes, spine) for edge in document["edges"]]
    shapes += [_node(name, row, spine, document) for name, row in order.items()]
    drawing = el("svg", *shapes, width=width, height=height, viewBox=f"0 0 {width} {height}", aria_hidden="true")
    rows = [el("li", *_text(numbers, name, row)) for name, row in order.items()]
    listed = el("ol", *rows, style=f"margin-left:{width}px")
    return el("div", drawing, listed, cls="graph", tabindex="0", role="region", aria_label="network")


def _lanes(edges: list[dict[str, Any]], order: dict[str, int]) -> dict[str, int]:
    """The lane of every source that some node beyond the next row reads; lanes of one row differ."""
    ends: dict[str, int] = {}
    for edge in edges:
        start, end = order[edge["source"]], order[edge["reader"]]
        if end > start + 1:
            ends[edge["source"]] = max(end, ends.get(edge["source"], 0))
    lanes: dict[str, int] = {}
    busy_until: list[int] = []
    for source in sorted(ends, key=order.__getitem__):
        free = next((i for i, end in enumerate(busy_until) if end <= order[source]), len(busy_until))
        if free == len(busy_until):
            busy_until.append(0)
        busy_until[free], lanes[source] = ends[source], free
    return lanes


def _edge(edge: dict[str, Any], order: dict[str, int], lanes: dict[str, int], spine: int) -> Markup:
    start, end = order[edge["source"]], order[edge["reader"]]
    above, below = start * ROW + ROW // 2, end * ROW + ROW // 2
    kind = "edge gate" if edge["role"] == "gate" else "edge"
    if end == start + 1:
        return el("path", d=f"M{spine} {above}V{below}", cls=kind)
    x = spine - LANE * (min(lanes[edge["source"]], MOST_LANES - 1) + 1)
    bend = ROW // 2
    path = (
        f"M{spine} {above}C{spine} {above + bend} {x} {above} {x} {above + bend}V{below - bend}"
        f"C{x} {below} {spine} {below - bend} {spine} {below}"
    )
    return el("path", d=path, cls=kind)


def _node(name: str, row: int, spine: int, document: dict[str, Any]) -> Markup:
    y = row * ROW + ROW // 2
    if name in (INPUT, READOUT):
        return el("circle", cx=spine, cy=y, r=6, cls="end")
    if document["layers"][row - 1]["role"] == "population":
        return el("circle", cx=spine, cy=y, r=6, cls="population")
    return el("rect", x=spine - 5, y=y - 5, width=10, height=10, rx=2, cls="synapse")


def _text(numbers: Numbers, name: str, row: int) -> tuple[Markup, Markup]:
    document = numbers.document
    if name == INPUT:
        program = document["program"]
        about = f"{_shape(program['input_shape'])}, {program['input_bits']} bit{' signed' * program['input_signed']}"
        figure = numbers.show("/input/spike_density", percent), el("small", " non-zero")
    elif name == READOUT:
        about = f"sum over {document['time_steps']} steps, largest wins"
        last = len(document["layers"]) - 1
        figure = numbers.show(f"/layers/{last}/shape/0", count), el("small", " classes")
    else:
        about, figure = _layer(numbers, row - 1)
    title = el("span", el("b", name), el("small", about), title=f"{name}: {about}")
    return title, el("span", *figure, cls="value")


def _layer(numbers: Numbers, index: int) -> tuple[str, tuple[Markup, Markup]]:
    layer, at = numbers.value(f"/layers/{index}"), f"/layers/{index}"
    shape = _shape(layer["shape"])
    if layer["role"] == "population":
        signed = " signed" if layer["signed"] else ""
        about = f"{layer['kind'].replace('_', ' ')}, {shape}, {layer['bits']} bit{signed}"
        return about, (numbers.show(f"{at}/spike_density", percent), el("small", " density"))
    about = layer["kind"].replace("_", " ")
    if layer["weight_shape"]:
        about += f" {_shape(layer['weight_shape'])}, {BITS.get(layer['bits'], str(layer['bits']) + ' bit')}"
    operations = ("macs_per_sample", " MACs") if layer["macs_per_sample"] else ("sops_per_sample", " SOPs")
    return f"{about} to {shape}", (numbers.show(f"{at}/{operations[0]}", count), el("small", operations[1]))


def _shape(extents: list[int]) -> str:
    return "×".join(map(str, extents))
