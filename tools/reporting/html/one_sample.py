"""One sample from its picture to its class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...documents.run import OneSample, Picture, SpikeMaps
from ...text import count
from .charts import lines
from .first_screen import sign
from .markup import Child, Markup, Numbers, el, join, png

INK = (57, 128, 230)
"""Colour of spikes; their strength is its opacity, so that it reads on light and on dark."""
TOP_CLASSES = 5
TILE, WIDEST = 76, 640
"""Pixels of the screen: one map, and all of a layer."""


def one_sample(numbers: Numbers, sample: OneSample) -> Markup:
    """Picture, logits over time, and the spikes of every population at every step."""
    report = numbers.report
    names = report.program.class_names
    outcome = el("p", *_outcome(sample, names), cls="outcome")
    seen = el("div", _picture(sample.picture), outcome, el("p", f"sample {sample.index}", cls="sub"), cls="seen")
    grown = el("div", el("h3", "Logits after each step"), _logits(sample, names), cls="grown")
    dense = {layer.name for layer in report.layers if layer.signed}
    rows = [_strip(numbers, maps) for maps in sample.layers if maps.name not in dense]
    steps = max(maps.map_shape[0] for maps in sample.layers)
    about = (
        f"One square per time-step ({steps} of {report.time_steps}): where neurons send, summed over "
        "channels; the stronger the colour, the more. Features without a place are laid out row by row. Beside it: "
        "messages sent in each step."
    )
    spikes = [
        el("h3", "Spikes over time"),
        el("p", about, cls="sub"),
        el("ol", *rows, cls="strips", style=f"--wide:{min(steps * TILE, WIDEST)}px"),
    ]
    return join(el("div", seen, grown, cls="sample"), *spikes)


def _outcome(sample: OneSample, names: list[str]) -> list[Child]:
    """The predicted class, and whether it is the label's where the sample has one."""
    words: list[Child] = ["predicted ", el("strong", _class(names, sample.predicted))]
    if sample.label is None:
        return words
    return [sign(sample.predicted == sample.label), *words, f", labelled {_class(names, sample.label)}"]


def _class(names: list[str], number: int) -> str:
    return names[number] if number < len(names) else f"class {number}"


def _picture(picture: Picture | None) -> Markup:
    if picture is None:
        return el("p", "not a picture", cls="sub")
    pixels = np.array(picture.values, np.uint8).reshape(picture.shape)
    if picture.kind == "events":
        pixels = np.stack([pixels[..., 0], np.zeros_like(pixels[..., 0]), pixels[..., 1]], axis=-1)
    elif picture.kind == "grey":
        pixels = pixels[..., 0]
    return el("img", src=png(pixels), alt="the sample", cls="pixels")


def _logits(sample: OneSample, names: list[str]) -> Markup:
    """The classes that lead in the end; the predicted one stands out, and the label if it is another."""
    final = sample.logits_by_step[-1]
    leading = sorted(range(len(final)), key=lambda k: (-final[k], k))[:TOP_CLASSES]
    kinds = {sample.label: "label", sample.predicted: "predicted"}
    shown = [k for k in dict.fromkeys([*leading, sample.label]) if k is not None]
    order = sorted(shown, key=lambda k: (k in kinds, k == sample.predicted))
    series = [(_class(names, k)[:12], [row[k] for row in sample.logits_by_step], kinds.get(k, "other")) for k in order]
    others = ", ".join(_class(names, k) for k in leading if k not in kinds)
    return join(lines(series), el("p", f"Grey: the next classes ({others}).", cls="sub") if others else None)


def _strip(numbers: Numbers, layer: SpikeMaps) -> Markup:
    steps, height, width = layer.map_shape
    maps = np.array(layer.map, np.float64).reshape(steps, height, width)
    strength = maps / max(float(maps.max()), 1.0)
    picture = png(_tinted(np.rint(strength * 255).astype(np.uint8)))
    wide = f"width:{min(steps * TILE * max(width / height, 1), WIDEST):.0f}px"
    image = el("img", src=picture, alt=f"spikes of {layer.name}", cls="pixels", style=wide)
    figures = [numbers.show(layer, "spikes_by_step", count, t) for t in range(steps)]
    spaced = [part for figure in figures for part in (figure, " ")]
    name = el("span", layer.name, cls="label", title=layer.name)
    return el("li", name, image, el("span", *spaced, cls="value"))


def _tinted(maps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Steps side by side, one empty column between them, as RGBA."""
    steps, height, width = maps.shape
    alpha = np.zeros((height, steps * (width + 1) - 1), np.uint8)
    for t, plane in enumerate(maps):
        alpha[:, t * (width + 1) : t * (width + 1) + width] = np.maximum(plane, 14)
    colour = np.broadcast_to(np.array(INK, np.uint8), (*alpha.shape, 3))
    return np.concatenate([colour, alpha[..., None]], axis=-1)
