"""Charts of plain elements and a little SVG: their text can be selected, and they take the width they are given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil, floor, log10

import msgspec

from hmdf.hw_targets.schema import Cost, triple

from ...text import Style
from .markup import Child, Markup, el, join


class Bar(msgspec.Struct, frozen=True):
    """One row of a chart.

    Attributes:
        parts: (series, value) one after the other; series number the colours from 1.
        value: text at the end.
        whisker: low and high, drawn as a line over the bar.
        mark: one more value, drawn as a tick.
        note: shown when the pointer rests on the row.
    """

    label: str
    parts: Sequence[tuple[int, float]]
    value: Child
    whisker: tuple[float, float] | None = None
    mark: float | None = None
    note: str | None = None


def bars(rows: Sequence[Bar], largest: float | None = None) -> Markup:
    """Horizontal bars on a common scale from 0 to `largest` (the largest of the rows if not given)."""
    ends = [max(sum(v for _, v in r.parts), r.whisker[1] if r.whisker else 0, r.mark or 0) for r in rows]
    full = largest or max(ends, default=0) or 1
    return el("ol", *(_row(row, full) for row in rows), cls="bars")


def _row(row: Bar, full: float) -> Markup:
    track: list[Child] = [
        el("i", cls=f"fill s{series}", style=f"width:{_share(value, full)}") for series, value in row.parts if value > 0
    ]
    low, high = row.whisker or (0.0, 0.0)
    if high - low > full / 100:
        track.append(el("i", cls="whisker", style=f"left:{_share(low, full)};width:{_share(high - low, full)}"))
    if row.mark is not None:
        track.append(el("i", cls="mark", style=f"left:{_share(row.mark, full)}"))
    label = el("span", row.label, cls="label")
    return el("li", label, el("span", *track, cls="track"), el("span", row.value, cls="value"), title=row.note)


def _share(value: float, full: float) -> str:
    return f"{100 * min(max(value / full, 0), 1):.2f}%"


def legend(*names: tuple[str, str]) -> Markup:
    """What colours and marks mean: (class, name)."""
    return el("p", *(el("span", el("i", cls=f"key {kind}"), name) for kind, name in names), cls="legend")


# ------------------------------------------------------------------------------ ranges


class Span(msgspec.Struct, frozen=True):
    """One row of a chart of ranges; `cost` is None where nothing is known."""

    label: Child
    cost: Cost | None
    value: Child
    kind: str


class Scale(msgspec.Struct, frozen=True):
    """A logarithmic axis from 10^first to 10^last."""

    first: float
    last: float

    @classmethod
    def over(cls, costs: Sequence[Cost]) -> Scale:
        """The decades around the positive values of ranges."""
        positive = [value for cost in costs for value in triple(cost) if value > 0] or [1.0]
        first = floor(log10(min(positive)))
        return cls(first, max(first + 1, ceil(log10(max(positive)) - 1e-9)))

    @classmethod
    def between(cls, low: float, high: float) -> Scale:
        """From one positive value to another."""
        return cls(log10(low), log10(high))

    def ticks(self, style: Style) -> list[tuple[float, str]]:
        """Whole decades with their names, at most six of them."""
        step = ceil((self.last - self.first) / 5)
        decades = [10.0**e for e in range(ceil(self.first), floor(self.last) + 1, step)]
        return [(decade, re.sub(r"\.0+ ", " ", style(decade))) for decade in decades]

    def at(self, value: float) -> float:
        """Per cent of the way along the axis."""
        if value <= 0:
            return 0.0
        return 100 * min(max((log10(value) - self.first) / (self.last - self.first), 0), 1)


def spans(rows: Sequence[Span], scale: Scale, ticks: Sequence[tuple[float, str]]) -> Markup:
    """Ranges on a common logarithmic axis: a line from low to high, a dot at typical."""
    lines = [el("i", cls="tick", style=f"left:{scale.at(value):.2f}%") for value, _ in ticks]
    texts = [el("span", text, style=f"left:{scale.at(value):.2f}%") for value, text in ticks]
    axis = el("li", el("span"), el("span", *texts, cls="axis"), el("span"), cls="scale", aria_hidden="true")
    return el("ol", *(_span(row, scale, lines) for row in rows), axis, cls="spans")


def _span(row: Span, scale: Scale, lines: Sequence[Markup]) -> Markup:
    track = el("span", *lines, span_marks(row.cost, scale), cls="track")
    return el("li", el("span", row.label, cls="label"), track, el("span", row.value, cls="value"), cls=row.kind)


def span_marks(cost: Cost | None, scale: Scale) -> Markup:
    """The line and the dot alone."""
    if cost is None:
        return join()
    low, typical, high = (scale.at(value) for value in triple(cost))
    line = el("i", cls="line", style=f"left:{low:.2f}%;width:{high - low:.2f}%")
    return join(line, el("i", cls="dot", style=f"left:{typical:.2f}%"))


# ------------------------------------------------------------------------------- lines


def lines(series: Sequence[tuple[str, Sequence[float], str]], first_step: int = 1) -> Markup:
    """Lines over time-steps: (name, values, class). Drawn in the order given; the last lies on top."""
    width, height, left, right, top, bottom = 440, 210, 44, 96, 12, 28
    values = [v for _, ys, _ in series for v in ys] + [0.0]
    low, high = min(values), max(values)
    span = (high - low) or 1
    steps = len(series[0][1])

    def x(index: int) -> float:
        return left + (width - left - right) * (index / (steps - 1) if steps > 1 else 1)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (1 - (value - low) / span)

    parts = [el("line", x1=left, x2=width - right, y1=round(y(0), 1), y2=round(y(0), 1), cls="zero")]
    shown = range(0, steps, max(1, ceil(steps / 10)))
    parts += [
        el("text", str(first_step + i), x=round(x(i), 1), y=height - 8, cls="t", text_anchor="middle") for i in shown
    ]
    parts += [
        el("text", f"{v:.3g}", x=left - 6, y=round(y(v) + 4, 1), cls="t", text_anchor="end")
        for v in sorted({low, 0.0, high}) if v in (low, high) or min(y(low) - y(0), y(0) - y(high)) > 14
    ]  # fmt: skip
    for name, ys, kind in series:
        points = [(round(x(i), 1), round(y(v), 1)) for i, v in enumerate(ys)]
        path = "M" + "L".join(f"{a} {b}" for a, b in points)
        dots = [el("circle", cx=a, cy=b, r=2.6 if kind == "other" else 3.6, cls=kind) for a, b in points]
        parts.append(el("g", el("title", name), el("path", d=path, cls=kind), *dots))
        if kind != "other":
            parts.append(el("text", name, x=points[-1][0] + 8, y=points[-1][1] + 4, cls=f"name {kind}"))
    label = "logits over time-steps"
    return el("svg", *parts, viewBox=f"0 0 {width} {height}", cls="lines", role="img", aria_label=label)
