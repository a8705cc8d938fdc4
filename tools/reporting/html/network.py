"""The network as a graph: one row per node, edges that skip rows in lanes beside it."""

from __future__ import annotations

from collections.abc import Sequence

from hmdf.hw_targets.place.layers import READOUT
from hmdf.sim.contract import INPUT

from ...documents.report import ReadBy, Report, ReportLayer
from ...text import count, percent
from .markup import Markup, Numbers, el

ROW, LANE, MOST_LANES = 44, 14, 12
BITS = {1: "1 bit", 2: "ternary"}


def network(numbers: Numbers) -> Markup:
    """Rows in the order of execution; the box scrolls when the network is deep."""
    report = numbers.report
    names = [INPUT, *(layer.name for layer in report.layers), READOUT]
    order = {name: row for row, name in enumerate(names)}
    lanes = _lanes(report.edges, order)
    used = min(max(lanes.values(), default=-1) + 1, MOST_LANES)
    spine = used * LANE + 12
    width, height = spine + 14, ROW * len(order)
    shapes = [_edge(edge, order, lanes, spine) for edge in report.edges]
    shapes += [_node(name, row, spine, report) for name, row in order.items()]
    drawing = el("svg", *shapes, width=width, height=height, viewBox=f"0 0 {width} {height}", aria_hidden="true")
    rows = [el("li", *_text(numbers, name, row)) for name, row in order.items()]
    listed = el("ol", *rows, style=f"margin-left:{width}px")
    return el("div", drawing, listed, cls="graph", tabindex="0", role="region", aria_label="network")


def _lanes(edges: list[ReadBy], order: dict[str, int]) -> dict[str, int]:
    """The lane of every source that some node beyond the next row reads, and of every edge back; no two meet."""
    spans: dict[str, tuple[int, int]] = {}
    for edge in edges:
        start, end = order[edge.source], order[edge.reader]
        if end > start + 1:
            spans[_lane_of(edge, order)] = start, max(end, spans.get(edge.source, (0, 0))[1])
        elif end < start:
            spans[_lane_of(edge, order)] = end, start
    lanes: dict[str, int] = {}
    busy_until: list[int] = []
    for key, (start, end) in sorted(spans.items(), key=lambda span: span[1][0]):
        free = next((i for i, until in enumerate(busy_until) if until <= start), len(busy_until))
        if free == len(busy_until):
            busy_until.append(0)
        busy_until[free], lanes[key] = end, free
    return lanes


def _lane_of(edge: ReadBy, order: dict[str, int]) -> str:
    """Who has the lane: the source, for all its readers; an edge back has its own."""
    return edge.source if order[edge.reader] > order[edge.source] else f"{edge.source} {edge.reader}"


def _edge(edge: ReadBy, order: dict[str, int], lanes: dict[str, int], spine: int) -> Markup:
    start, end = order[edge.source], order[edge.reader]
    above, below = start * ROW + ROW // 2, end * ROW + ROW // 2
    kind = "edge gate" if edge.role == "gate" else "edge"
    if end == start + 1:
        return el("path", d=f"M{spine} {above}V{below}", cls=kind)
    x = spine - LANE * (min(lanes[_lane_of(edge, order)], MOST_LANES - 1) + 1)
    bend = ROW // 2 if end > start else -ROW // 2
    path = (
        f"M{spine} {above}C{spine} {above + bend} {x} {above} {x} {above + bend}V{below - bend}"
        f"C{x} {below} {spine} {below - bend} {spine} {below}"
    )
    return el("path", d=path, cls=kind)


def _node(name: str, row: int, spine: int, report: Report) -> Markup:
    y = row * ROW + ROW // 2
    if name in (INPUT, READOUT):
        return el("circle", cx=spine, cy=y, r=6, cls="end")
    if report.layers[row - 1].role == "population":
        return el("circle", cx=spine, cy=y, r=6, cls="population")
    return el("rect", x=spine - 5, y=y - 5, width=10, height=10, rx=2, cls="synapse")


def _text(numbers: Numbers, name: str, row: int) -> tuple[Markup, Markup]:
    """Name and description of a node, and its figure with a unit."""
    report, program = numbers.report, numbers.report.program
    if name == INPUT:
        about = f"{_shape(program.input_shape)}, {program.input_bits} bit{' signed' * program.input_signed}"
        figure, unit = numbers.show(report.input, "spike_density", percent), "non-zero"
    elif name == READOUT:
        about = f"sum over {report.time_steps} steps, largest wins"
        figure, unit = numbers.show(report.layers[-1], "shape", count, 0), "classes"
    else:
        about, figure, unit = _layer(numbers, report.layers[row - 1])
    title = el("span", el("b", name), el("small", about), title=f"{name}: {about}")
    return title, el("span", figure, el("small", f" {unit}"), cls="value")


def _layer(numbers: Numbers, layer: ReportLayer) -> tuple[str, Markup, str]:
    shape, kind = _shape(layer.shape), layer.kind.replace("_", " ")
    if layer.role == "population":
        about = f"{kind}, {shape}, {layer.bits} bit{' signed' if layer.signed else ''}"
        return about, numbers.show(layer, "spike_density", percent), "density"
    if layer.weight_shape:
        kind += f" {_shape(layer.weight_shape)}, {BITS.get(layer.bits, str(layer.bits) + ' bit')}"
    field, unit = ("macs_per_sample", "MACs") if layer.macs_per_sample else ("sops_per_sample", "SOPs")
    return f"{kind} to {shape}", numbers.show(layer, field, count), unit


def _shape(extents: Sequence[int]) -> str:
    return "×".join(map(str, extents))
