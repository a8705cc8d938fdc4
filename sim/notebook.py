"""How a Program and the Result of a run show themselves in a notebook, and its messages under names."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from math import ceil, isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.extras import require

from .contract import Node, Synapse, WeightedOp
from .listing import by, reads

if TYPE_CHECKING:
    from .counters import Counters
    from .program import Program

DIMENSIONS = {3: ("sample", "time_step", "feature"), 5: ("sample", "time_step", "channel", "y", "x")}
"""Names of the axes of messages by their number."""
PANEL, LABEL = 0.9, 1.8
"""Inches of one map, and of the names beside the maps."""


# ------------------------------------------------------------------------------- tables


def program_html(program: Program) -> str:
    """The network as a table: a row per node with what it reads."""
    about = program.metadata.network or "program"
    head = (
        f"{about}: {len(program.populations)} populations, {program.time_steps} steps, "
        f"{program.state_bits}-bit states, {program.accumulator_bits}-bit accumulators"
    )
    first = "input", program.input.timing, by(program.input.shape), _bits(program.input.message), "", ""
    rows = [first, *((*_node(program, node), _weights(node), ", ".join(_sources(node))) for node in program.nodes)]
    return _table(head, ("node", "kind", "shape", "bits", "weights", "reads"), rows)


def result_html(program: Program, counters: Counters, head: str) -> str:
    """What a run counted, a row per node."""
    rows = []
    for node in program.nodes:
        if isinstance(node, Synapse):
            counts = counters.synapses[node.name]
            figures = "", f"{counts.sops_per_sample.mean():,.0f}", f"{counts.macs:,}", ""
        else:
            fired = counters.populations[node.name]
            clamps = int(fired.state_saturations.sum() + fired.message_saturations.sum())
            figures = f"{fired.density():.2%}", "", "", f"{clamps:,}"
        rows.append((*_node(program, node), *figures))
    heads = "node", "kind", "shape", "bits", "density", "SOPs per sample", "MACs per sample", "saturations"
    return _table(head, heads, rows, numbers_from=4)


def _node(program: Program, node: Node) -> tuple[str, str, str, str]:
    """Name, kind, shape of what it sends, and bits of its message or weights."""
    shape = by(program.shapes[node.name])
    if isinstance(node, Synapse):
        bits = str(node.op.weight_bits) if isinstance(node.op, WeightedOp) else ""
        return node.name, str(node.op.__struct_config__.tag), shape, bits
    return node.name, node.dynamics.kind(), shape, _bits(node.message)


def _bits(message: Any) -> str:
    return f"{'s' if message.signed else ''}{message.bits}"


def _weights(node: Node) -> str:
    return by(node.op.weight.shape) if isinstance(node, Synapse) and isinstance(node.op, WeightedOp) else ""


def _sources(node: Node) -> list[str]:
    if isinstance(node, Synapse):
        return [reads(node)]
    return [port.source for port in node.ports] + ([f"gate {node.gate.source}"] if node.gate is not None else [])


def _table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]], numbers_from: int = 99) -> str:
    """An HTML table; columns from number `numbers_from` on are aligned to the right."""

    def row(cells: Iterable[str], kind: str) -> str:
        sides = ("right" if column >= numbers_from else "left" for column, _ in enumerate(heads))
        inner = [
            f"<{kind} style='text-align:{side}'>{escape(cell)}</{kind}>"
            for side, cell in zip(sides, cells, strict=True)
        ]
        return f"<tr>{''.join(inner)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f"<table><caption>{escape(caption)}</caption><thead>{row(heads, 'th')}</thead><tbody>{body}</tbody></table>"


# ----------------------------------------------------------------------------- messages


class LabelledArray(msgspec.Struct, frozen=True, eq=False):
    """Integers whose axes have names.

    Attributes:
        values: as NumPy has them; `np.asarray` of this object is the same.
        dims: a name per axis, such as ("sample", "time_step", "channel", "y", "x").
    """

    name: str
    values: NDArray[Any]
    dims: tuple[str, ...]

    def sel(self, **places: int | slice) -> LabelledArray:
        """A part by the names of its axes: `sel(sample=0, time_step=slice(2))`; an axis given a number is gone.

        Raises:
            KeyError: there is no such axis.
        """
        for name in places:
            if name not in self.dims:
                raise KeyError(f"'{self.name}' has no axis '{name}'; it has {', '.join(self.dims)}")
        index = tuple(places.get(name, slice(None)) for name in self.dims)
        kept = tuple(name for name in self.dims if not isinstance(places.get(name, slice(None)), int))
        return LabelledArray(self.name, self.values[index], kept)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=True if copy else None)

    def __repr__(self) -> str:
        axes = ", ".join(f"{name}: {extent}" for name, extent in zip(self.dims, self.values.shape, strict=True))
        return f"<{self.name} ({axes}) {self.values.dtype}>"


class Messages(Mapping[str, LabelledArray]):
    """Every message of a run by population, in the order of the network."""

    def __init__(self, messages: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = {name: LabelledArray(name, values, DIMENSIONS[values.ndim]) for name, values in messages.items()}

    def __getitem__(self, population: str) -> LabelledArray:
        return self._arrays[population]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.values()))

    def plot(self, sample: int = 0) -> Drawing:
        """Where and when every population sends, for one sample: a row per population, a column per time-step.

        |message| summed over channels; features without a place are laid out row by row.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        planes = {name: [_plane(step) for step in array.values[sample]] for name, array in self.items()}
        steps = max(map(len, planes.values()))
        figure = require("matplotlib.figure", "a plot").Figure(
            figsize=(LABEL + PANEL * steps, 0.4 + PANEL * len(planes)), layout="constrained"
        )
        grid = figure.subplots(len(planes), steps, squeeze=False)
        for step, cell in enumerate(grid[0]):
            cell.set_title(f"step {step}", fontsize=8)
        for axes, (name, maps) in zip(grid, planes.items(), strict=True):
            brightest = max(int(plane.max()) for plane in maps) or 1
            axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
            for cell, plane in zip(axes, maps, strict=True):
                cell.imshow(plane, cmap="Blues", vmin=0, vmax=brightest)
                cell.set(xticks=[], yticks=[])
        return Drawing(figure)


def _plane(step: NDArray[Any]) -> NDArray[Any]:
    """Magnitudes of one step as a picture."""
    magnitudes = np.abs(step.astype(np.int64))
    if magnitudes.ndim == 3 and magnitudes[0].size > 1:
        return magnitudes.sum(axis=0)
    flat = magnitudes.ravel()
    side = isqrt(len(flat) - 1) + 1
    rows = ceil(len(flat) / side)
    return np.pad(flat, (0, rows * side - len(flat))).reshape(rows, side)


class Drawing:
    """A figure of matplotlib that a notebook shows; `figure` is the figure itself."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.figure.savefig(content, format="png", dpi=110)
        return content.getvalue()

    def save(self, path: str | Path) -> None:
        """Write it in the form that the name says: .png, .svg, .pdf."""
        self.figure.savefig(path)
