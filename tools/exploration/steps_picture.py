"""Accuracy and energy against the number of time-steps as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..documents.exploration import Point
from ..plots import new_figure, save, style
from .choice import Wanted, preference
from .criteria import ENERGY
from .picture import colours_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_steps(points: list[Point], trained: int, folder: Path) -> list[Path]:
    """Write steps.png and steps.svg: at each number of steps, the most accurate setting of each target.

    Nothing is written, and the list is empty, where there is one number of steps.

    Args:
        trained: steps of training, drawn as a line.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    shown = [point for point in points if point.accuracy is not None]
    steps = sorted({point.setting.time_steps for point in shown})
    if len(steps) < 2:
        return []
    with style(font_size=9):
        picture = new_figure(9, 3.6)
        accuracy, energy = picture.subplots(1, 2, sharex=True)
        for colour, target in zip(colours_of(shown), dict.fromkeys(p.target for p in shown), strict=True):
            mine = [_best([p for p in shown if (p.target, p.setting.time_steps) == (target, t)]) for t in steps]
            best = [point for point in mine if point is not None]
            at = [point.setting.time_steps for point in best]
            accuracy.plot(at, [100 * (p.accuracy or 0.0) for p in best], color=colour, marker="o", ms=4, label=target)
            cost = {p.setting.time_steps: e for p in best if (e := ENERGY.of(p)) is not None}
            energy.plot([*cost], [e / ENERGY.divisor for e in cost.values()], color=colour, marker="o", ms=4)
        accuracy.set_ylabel(f"accuracy on {shown[0].samples:,} samples (%)")
        energy.set_ylabel(f"energy ({ENERGY.unit}), typical constants")
        for axes in (accuracy, energy):
            _frame(axes, steps, trained)
        accuracy.legend(frameon=False)
        return save(picture, folder, "steps")


def _best(points: list[Point]) -> Point | None:
    return min(points, key=preference(Wanted()), default=None)


def _frame(axes: Axes, steps: list[int], trained: int) -> None:
    axes.axvline(trained, color="0.4", ls="--", lw=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [str(step) for step in steps])
    axes.set_xlabel(f"time-steps (trained with {trained})")
    axes.grid(color="0.92", lw=0.6)
    axes.set_axisbelow(True)
