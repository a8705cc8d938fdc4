"""What all plots have in common: their style, and files that depend on the numbers alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmdf.sim.files import write_whole

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from matplotlib.figure import Figure

DPI = 150


def style(font_size: float = 8) -> AbstractContextManager[Any]:
    """Draw and save within this: plain axes, and a fixed salt for the names within an SVG.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib import rc_context

    return rc_context(
        {"svg.hashsalt": "hmdf", "font.size": font_size, "axes.spines.top": False, "axes.spines.right": False}
    )


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches; no window and no global state of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(picture)
    return picture


def save(picture: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.png and NAME.svg, whole or not at all and without a date; returns their paths."""
    paths = []
    for form, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        content = io.BytesIO()
        picture.savefig(content, format=form, dpi=DPI, metadata=metadata)
        paths.append(folder / f"{name}.{form}")
        write_whole(paths[-1], content.getvalue())
    return paths
