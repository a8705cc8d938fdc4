"""The plots of ``hmdf-inspect``: parameters, membranes, firing, gradients; each as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .plots import new_figure, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hmdf.train.insights import GradientComparison, NeuronInsight

ROW = 0.26
"""Height of a layer's row in inches."""
PANELS = 4
"""Membrane panels side by side."""
LEGIBLE_STEPS = 10
"""So many columns of a heat map still have room for a number in every cell."""
TRAINED, UNTRAINED = "#0072B2", "#D55E00"
PARAMETERS = {
    "λ (leak)": "leak",
    "μ_D (dendrite)": "dendrite_leak",
    "μ_S (feedback)": "dendrite_feedback",
    "λ_S (soma)": "soma_leak",
    "λ_D (drive)": "soma_drive",
    "θ (threshold)": "threshold",
    "α (membrane)": "alpha",
    "β (its norm)": "beta",
}


def draw(
    neurons: Sequence[NeuronInsight],
    gradients: Sequence[GradientComparison],
    untrained: Sequence[GradientComparison],
    folder: Path,
) -> list[Path]:
    """Write the plots; returns their paths.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    with style():
        return [
            *save(_parameters(neurons), folder, "parameters"),
            *save(_firing(neurons), folder, "firing"),
            *save(_membranes(neurons), folder, "membranes"),
            *save(_gradients(gradients, untrained), folder, "gradients"),
        ]


def _parameters(neurons: Sequence[NeuronInsight]) -> Figure:
    """Learned values per layer and step; a cell is empty where a neuron has no such parameter."""
    shown = {title: [layer.learned(kind) for layer in neurons] for title, kind in PARAMETERS.items()}
    limits = (-0.5, 1.5) if any(layer.factors for layer in neurons) else (0.0, 1.0)
    shown = {title: rows for title, rows in shown.items() if any(row is not None for row in rows)}
    picture = new_figure(1.6 + len(shown) * _map_width(neurons), 1.0 + ROW * len(neurons))
    panels = np.atleast_1d(picture.subplots(1, len(shown), sharey=True))
    for axes, (title, rows) in zip(panels, shown.items(), strict=True):
        image = _heat_map(axes, neurons, _grid(rows, len(neurons[0].threshold)), *limits, "{:.2f}")
        axes.set_title(title, fontsize=9)
    picture.colorbar(image, ax=list(panels), shrink=0.8, pad=0.01)
    return picture


def _firing(neurons: Sequence[NeuronInsight]) -> Figure:
    picture = new_figure(2.6 + _map_width(neurons) + 2.6, 1.0 + ROW * len(neurons))
    rates, steady = picture.subplots(1, 2, sharey=True, width_ratios=[_map_width(neurons), 2.6])
    percent = _grid([[100 * rate for rate in layer.firing_rate] for layer in neurons], len(neurons[0].threshold))
    image = _heat_map(rates, neurons, percent, 0.0, max(float(np.nanmax(percent)), 1.0), "{:.0f}")
    rates.set_title("messages that are not 0 (%)", fontsize=9)
    picture.colorbar(image, ax=rates, shrink=0.8, pad=0.02)
    steady.barh(range(len(neurons)), [100 * layer.steady for layer in neurons], color=TRAINED, height=0.6)
    steady.set_xlim(0, 100)
    steady.set_title("above θ at all steps, or at none (%)", fontsize=9)
    steady.grid(axis="x", color="0.9", lw=0.6)
    steady.set_axisbelow(True)
    return picture


def _membranes(neurons: Sequence[NeuronInsight]) -> Figure:
    """Distribution of m - theta per layer, one line per step; right of the dashed line the neuron fires."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    steps = len(neurons[0].threshold)
    rows = -(-len(neurons) // PANELS)
    picture = new_figure(11, 0.8 + 1.5 * rows)
    panels = picture.subplots(rows, PANELS, squeeze=False).flatten()
    colours = colormaps["viridis"](np.linspace(0, 0.9, steps))
    for axes, layer in zip(panels, neurons, strict=False):
        _distribution(axes, layer, colours)
    for axes in panels[len(neurons) :]:
        axes.set_axis_off()
    picture.supxlabel("m − θ: membrane before the reset, from the threshold (beyond the dashed line: above it)", size=9)
    picture.supylabel("density", size=9)
    named = range(steps) if steps <= LEGIBLE_STEPS else (0, steps - 1)
    handles = [Line2D([], [], color=colours[step], label=f"step {step}") for step in named]
    picture.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
    return picture


def _distribution(axes: Axes, layer: NeuronInsight, colours: NDArray[Any]) -> None:
    low, high = layer.margin_range
    counts = np.asarray(layer.margins, dtype=np.float64)
    width = (high - low) / counts.shape[1]
    density = counts / counts.sum(1, keepdims=True) / width
    centres = low + width * (np.arange(counts.shape[1]) + 0.5)
    for values, colour in zip(density, colours, strict=True):
        axes.plot(centres[1:-1], values[1:-1], color=colour, lw=1)  # the outermost bins hold what is beyond
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", nbins=5, steps=[1, 2, 5, 10])
    axes.axvline(0, color="0.3", lw=0.8, ls="--")
    axes.set_title(layer.name, fontsize=8)


def _gradients(gradients: Sequence[GradientComparison], untrained: Sequence[GradientComparison]) -> Figure:
    """Cosine and ratio of lengths per layer; a dot is the mean, a line reaches over the mini-batches."""
    picture = new_figure(10, 1.2 + ROW * len(gradients))
    cosine, ratio = picture.subplots(1, 2, sharey=True)
    rows = np.arange(len(gradients))
    series = (gradients, TRAINED, "trained", -0.15), (untrained, UNTRAINED, "untrained", 0.15)
    for layers, colour, name, shift in series:
        _dots(cosine, [layer.cosine for layer in layers], rows + shift, colour, name)
        _dots(ratio, [layer.ratio for layer in layers], rows + shift, colour, name)
    cosine.set_title("cosine between the online and the STBP gradient", fontsize=9)
    ratio.set_title("length of the online gradient / STBP", fontsize=9)
    cosine.set_yticks(rows, [layer.name for layer in gradients])
    cosine.set_ylim(len(gradients) - 0.4, -0.6)
    for axes in (cosine, ratio):
        axes.axvline(1, color="0.3", lw=0.8, ls="--")
        axes.grid(color="0.92", lw=0.6)
        axes.set_axisbelow(True)
    handles, labels = cosine.get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
    return picture


def _dots(axes: Axes, layers: Sequence[Sequence[float | None]], places: NDArray[Any], colour: str, name: str) -> None:
    values = [[value for value in layer if value is not None] or [np.nan] for layer in layers]
    means = np.array([np.mean(layer) for layer in values])
    axes.hlines(places, [min(layer) for layer in values], [max(layer) for layer in values], color=colour, lw=1)
    axes.plot(means, places, "o", color=colour, ms=3.5, label=name)


def _map_width(neurons: Sequence[NeuronInsight]) -> float:
    return max(1.6, 0.36 * min(len(neurons[0].threshold), LEGIBLE_STEPS))


def _grid(rows: Sequence[Sequence[float] | None], steps: int) -> NDArray[np.float64]:
    return np.array([[np.nan] * steps if row is None else row for row in rows], dtype=np.float64)


def _heat_map(
    axes: Axes, neurons: Sequence[NeuronInsight], values: NDArray[np.float64], low: float, high: float, style: str
) -> Any:
    steps = values.shape[1]
    image = axes.imshow(values, aspect="auto", cmap="viridis", vmin=low, vmax=high)
    axes.set_yticks(range(len(neurons)), [layer.name for layer in neurons])
    axes.set_xticks(range(0, steps, -(-steps // LEGIBLE_STEPS)))
    axes.set_xlabel("step")
    axes.tick_params(length=0)
    for (row, step), value in np.ndenumerate(values):
        if steps <= LEGIBLE_STEPS and not np.isnan(value):
            dark = value < low + 0.6 * (high - low)
            axes.text(step, row, style.format(value), ha="center", va="center", color="white" if dark else "black")
    return image
