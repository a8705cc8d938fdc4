"""The ablation's plots, as PNG and SVG: figure 3 of arXiv 2410.07547 in small, and what each switch changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Protocol

from experiments.ablation.rows import BASE, FIGURE_3, ROWS, Record
from hmdf.tools.plots import new_figure, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.3
"""Height of a row in inches."""
COLOURS = dict(zip(FIGURE_3, ("#0072B2", "#009E73", "#D55E00", "#999999"), strict=True))
TITLES = "HM-DF, 1.5-bit weights", "HM-DF, 1-bit weights", "LIF, 1.5-bit weights", "LIF, full-precision weights"
NAMES = dict(zip(FIGURE_3, TITLES, strict=True))
INTEGER, FLOAT = "#0072B2", "#D55E00"


class Column(Protocol):
    """See table.py."""

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def of(self, record: Record) -> float: ...
    def change(self, record: Record, base: Record) -> float: ...


Records = Mapping[str, Mapping[int, Record]]


def draw(found: Records, columns: Mapping[str, Column], folder: Path) -> list[Path]:
    """Write the plots for which there are runs; returns their paths."""
    paths: list[Path] = []
    with style():
        shown = [row for row in FIGURE_3 if row in found]
        if shown:
            paths += save(figure_3(found, shown, columns), folder, "figure3")
        changed = [row for row in ROWS if row != BASE and found.get(BASE, {}).keys() & found.get(row, {}).keys()]
        if changed:
            paths += save(switches(found, changed, columns), folder, "switches")
    return paths


def figure_3(found: Records, shown: Sequence[str], columns: Mapping[str, Column]) -> Figure:
    """Accuracy against operations and energy: a filled dot is the integer program, a ring the float network."""
    from matplotlib.lines import Line2D

    picture = new_figure(8.5, 3.6)
    panels = picture.subplots(1, 2, sharey=True)
    for axes, key in zip(panels, ("hm_df_sops", "energy_pj"), strict=True):
        for row in shown:
            accuracy_against(axes, list(found[row].values()), columns[key], columns, COLOURS[row])
        axes.set_xlabel(f"{columns[key].title} per sample ({columns[key].unit})")
        frame(axes)
    panels[0].set_ylabel("test accuracy (%)")
    handles = [Line2D([], [], color=COLOURS[row], marker="o", lw=0, label=NAMES[row]) for row in shown]
    handles.append(Line2D([], [], color="0.3", marker="o", lw=0, mfc="none", label="float network"))
    picture.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return picture


def accuracy_against(
    axes: Axes, runs: Sequence[Record], column: Column, columns: Mapping[str, Column], colour: str
) -> None:
    """One dot per seed; a grey line joins it to the accuracy of the network that it was compiled from."""
    for run in runs:
        x = column.of(run)
        integer, real = (columns[key].of(run) for key in ("integer_accuracy", "float_accuracy"))
        axes.plot([x, x], [real, integer], color="0.75", lw=0.8, zorder=1)
        axes.plot([x], [real], "o", color=colour, mfc="white", ms=5, zorder=2)
        axes.plot([x], [integer], "o", color=colour, ms=5, zorder=3)


def switches(found: Records, changed: Sequence[str], columns: Mapping[str, Column]) -> Figure:
    """Change against the base of the same seed; a dot is the mean, a line reaches over the seeds."""
    picture = new_figure(11, 1.3 + ROW * len(changed))
    panels = picture.subplots(1, 4, sharey=True)
    accuracies = (
        ("integer_accuracy", INTEGER, "integer program", -0.14),
        ("float_accuracy", FLOAT, "float network", 0.14),
    )
    for key, colour, name, shift in accuracies:
        dots(panels[0], found, changed, columns[key], colour, shift, name)
    for axes, key in zip(panels[1:], ("sops", "seconds_per_epoch", "peak_bytes"), strict=True):
        dots(axes, found, changed, columns[key], INTEGER, 0.0, "")
    titles = "test accuracy (points)", "SOPs (ratio)", "training time (ratio)", "training memory (ratio)"
    for axes, title, neutral in zip(panels, titles, (0, 1, 1, 1), strict=True):
        axes.set_title(title, fontsize=9)
        axes.axvline(neutral, color="0.3", lw=0.8, ls="--")
        frame(axes)
    panels[0].set_yticks(range(len(changed)), changed)
    panels[0].set_ylim(len(changed) - 0.4, -0.6)
    picture.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    return picture


def dots(
    axes: Axes, found: Records, changed: Sequence[str], column: Column, colour: str, shift: float, name: str
) -> None:
    base = found[BASE]
    series = [[column.change(run, base[seed]) for seed, run in found[row].items() if seed in base] for row in changed]
    places = [place + shift for place in range(len(changed))]
    axes.hlines(places, [min(values) for values in series], [max(values) for values in series], color=colour, lw=1.2)
    axes.plot([mean(values) for values in series], places, "o", color=colour, ms=4, label=name)


def frame(axes: Axes) -> None:
    axes.margins(x=0.12)
    axes.grid(color="0.92", lw=0.6)
    axes.set_axisbelow(True)
