"""Accuracy against energy, memory and cores as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..documents.exploration import Point
from ..plots import DPI, new_figure, save, style
from .choice import FRONT, Wanted, front, preference
from .criteria import ENERGY, Criterion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart by the colour-blind; one per target, in order."""
LABEL = (32.0, 10.0)
"""Width and height of a label in points."""
LOGARITHMIC = 8.0
"""Ratio of the largest to the smallest cost from which on the axis is logarithmic."""
_AXIS_LIMITS = {"energy": "max_energy", "memory": "max_memory", "cores": "max_cores"}


def draw(points: list[Point], chosen: Point | None, limits: Wanted, folder: Path) -> list[Path]:
    """Write exploration.png and exploration.svg; returns their paths.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    with style(font_size=9):
        picture = new_figure(13, 4.8)
        panels = picture.subplots(1, len(FRONT), sharey=True)
        for axes, criterion in zip(panels, FRONT, strict=True):
            _panel(axes, criterion, points, chosen, limits)
        panels[0].set_ylabel(f"accuracy on {points[0].samples:,} samples (%)")
        handles = _legend(points, chosen)
        picture.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        picture.draw_without_rendering()  # lays the panels out, so that it is known which labels would collide
        for axes, criterion in zip(panels, FRONT, strict=True):
            _name_settings(axes, criterion, points, chosen)
        return save(picture, folder, "exploration")


def _panel(axes: Axes, criterion: Criterion, points: list[Point], chosen: Point | None, limits: Wanted) -> None:
    known = {p.key: v for p in points if p.accuracy is not None and (v := criterion.of(p)) is not None}
    if not known:
        axes.text(0.5, 0.5, f"no target says what its {criterion.name} is", transform=axes.transAxes, ha="center")
    shown = [p for p in points if p.key in known]
    best = front(shown, (criterion,))
    for colour, target in zip(colours_of(points), dict.fromkeys(p.target for p in points), strict=True):
        mine = sorted((p for p in shown if p.target == target), key=lambda p: (known[p.key], p.accuracy))
        unfit, fit = [p for p in mine if not p.fits], [p for p in mine if p.fits]
        axes.scatter(*_places(unfit, known, criterion), marker="x", color=colour, alpha=0.35, s=22, linewidths=1)
        axes.scatter(*_places(fit, known, criterion), color=colour, alpha=0.3, s=22, linewidths=0)
        edge = [p for p in fit if p.key in best]
        axes.plot(*_places(edge, known, criterion), color=colour, marker="o", ms=5, lw=1.2, drawstyle="steps-post")
    if chosen is not None and chosen.key in known:
        axes.scatter(*_places([chosen], known, criterion), s=150, facecolors="none", edgecolors="black", linewidths=1.5)
    _frame(axes, criterion, [v / criterion.divisor for v in known.values()], limits)


def _name_settings(axes: Axes, criterion: Criterion, points: list[Point], chosen: Point | None) -> None:
    """The chosen point and those of the panel's front, most accurate first; no label covers another.

    Of several points at one place the preferred one gives its name.
    """
    best = front([p for p in points if criterion.of(p) is not None], (criterion,))
    ranked = sorted((p for p in points if p.key in best), key=preference(Wanted()))
    if chosen is not None and criterion.of(chosen) is not None:
        ranked.insert(0, chosen)
    colours = dict(zip(dict.fromkeys(p.target for p in points), colours_of(points), strict=True))
    taken: list[tuple[float, float]] = []
    for point in ranked:
        place = (criterion.of(point) or 0.0) / criterion.divisor, 100 * (point.accuracy or 0.0)
        x, y = axes.transData.transform(place) * 72 / DPI
        if any(abs(x - u) < LABEL[0] and abs(y - v) < LABEL[1] for u, v in taken):
            continue
        taken.append((x, y))
        text = f"{point.setting.spike_bits}b {point.setting.time_steps}t"
        colour = "black" if point is chosen else colours[point.target]
        axes.annotate(text, place, (6, -12), textcoords="offset points", color=colour, fontsize=8)


def _frame(axes: Axes, criterion: Criterion, values: list[float], limits: Wanted) -> None:
    bound = getattr(limits, _AXIS_LIMITS[criterion.name])
    if bound is not None:
        axes.axvline(bound / criterion.divisor, color="0.4", ls="--", lw=1)
        values = [*values, bound / criterion.divisor]
    if limits.min_accuracy is not None:
        axes.axhline(100 * limits.min_accuracy, color="0.4", ls="--", lw=1)
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    if values and min(values) > 0 and max(values) / min(values) > LOGARITHMIC:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.4g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif not criterion.unit:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    unit = f" ({criterion.unit})" if criterion.unit else ""
    typical = ", typical constants" if criterion is ENERGY else ""
    axes.set_xlabel(f"{criterion.name}{unit}{typical}")
    axes.margins(x=0.12, y=0.08)
    axes.grid(color="0.92", lw=0.6)
    axes.set_axisbelow(True)


def _places(points: list[Point], known: dict[str, float], criterion: Criterion) -> tuple[list[float], list[float]]:
    return [known[p.key] / criterion.divisor for p in points], [100 * (p.accuracy or 0.0) for p in points]


def colours_of(points: list[Point]) -> list[str]:
    """One per target, in their order."""
    return [COLOURS[i % len(COLOURS)] for i, _ in enumerate(dict.fromkeys(p.target for p in points))]


def _legend(points: list[Point], chosen: Point | None) -> list[Any]:
    from matplotlib.lines import Line2D

    targets = dict.fromkeys(p.target for p in points)
    handles = [
        Line2D([], [], color=c, marker="o", ms=5, lw=1.2, label=t)
        for c, t in zip(colours_of(points), targets, strict=True)
    ]
    handles.append(Line2D([], [], color="0.4", lw=1.2, label="front of the panel (4b 2t: 4-bit spikes, 2 steps)"))
    plain: dict[str, Any] = {"lw": 0, "color": "0.4", "ms": 5}
    handles.append(Line2D([], [], marker="o", alpha=0.4, label="another setting", **plain))
    if any(not p.fits for p in points):
        handles.append(Line2D([], [], marker="x", label="does not fit (once fixed)", **plain))
    if chosen is not None:
        ring: dict[str, Any] = {"ms": 11, "mfc": "none", "mec": "black", "mew": 1.5}
        handles.append(Line2D([], [], lw=0, marker="o", label="chosen", **ring))
    return handles
