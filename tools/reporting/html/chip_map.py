"""The chip as a picture: every core at its place on the mesh, shaded by memory use or by activity."""

from __future__ import annotations

from math import ceil, sqrt

from hmdf.hw_targets.place.layers import READOUT
from hmdf.hw_targets.place.mapping import CoreUse, Mapping

from ...documents.report import CoreGrid
from ...text import count, percent, size
from .markup import Markup, Numbers, el

DRAWN_CORES, LISTED_CORES = 4608, 48
CELL, GAP, TILE_GAP = 10, 1, 3


def chip_map(numbers: Numbers, mapping: Mapping) -> Markup:
    """The map with its two shadings, and the fullest cores as a table."""
    mesh = numbers.report.target.mesh
    assert mesh is not None  # as there is a mapping
    busiest = max((_traffic(use) for use in mapping.core_use), default=0.0)
    drawn = max(1, min(mapping.chips, DRAWN_CORES // len(mesh.x)))
    chips = [_chip(mesh, mapping, number, busiest) for number in range(drawn)]
    missing = mapping.chips - drawn
    note = el("p", f"{missing} more chips are not drawn; they are in the JSON form.", cls="sub") if missing else None
    switch = [
        el("input", type="radio", name="shading", id="by-memory", checked="checked"),
        el("label", "Memory use", for_="by-memory"),
        el("input", type="radio", name="shading", id="by-activity"),
        el("label", "Activity", for_="by-activity"),
    ]
    fullest = max(use.memory_use for use in mapping.core_use)
    scales = [
        _scale("memory", "empty", "full" if fullest else "this target has no memory limit"),
        _scale("activity", "none", f"{count(busiest)} messages in and out per sample"),
    ]
    drawing = el("div", *chips, _layers(numbers), cls="chips")
    return el("div", *switch, *scales, drawing, note, _table(numbers, mapping.core_use), cls="map")


def _traffic(use: CoreUse) -> float:
    return use.messages_in + use.messages_out


def _scale(name: str, low: str, high: str) -> Markup:
    return el("p", low, el("i", cls="ramp"), high, cls=f"scale {name}")


def _chip(mesh: CoreGrid, mapping: Mapping, number: int, busiest: float) -> Markup:
    places = _places(mesh.x, mesh.y)
    uses = [use for use in mapping.core_use if use.chip == number]
    free = {tile: list(spots) for tile, spots in places.items()}
    cores = []
    for use in uses:
        x, y = free[use.x, use.y].pop(0)
        active = _traffic(use) / busiest if busiest else 0
        style = f"--m:{min(use.memory_use, 1):.3f};--a:{active:.3f}"
        cores.append(
            el("rect", el("title", _about(use)), x=x, y=y, width=CELL, height=CELL, rx=2, cls="core", style=style)
        )
    empty = "".join(f"M{x} {y}h{CELL}v{CELL}h-{CELL}z" for spots in free.values() for x, y in spots)
    width = max(x for spots in places.values() for x, _ in spots) + CELL
    height = max(y for spots in places.values() for _, y in spots) + CELL
    name = f"chip-{number}"
    drawing = el("g", el("path", d=empty, cls="empty") if empty else None, *cores, id=name)
    box = f"-1 -1 {width + 2} {height + 2}"
    style = f"max-width:{max(2.6 * width, 60):.0f}px"
    title = f"Chip {number + 1}: {len(uses)} of {len(mesh.x)} cores used"
    # Paper cannot be switched: it gets the second shading as a second picture of the same cores.
    again = el("svg", el("use", href=f"#{name}"), viewBox=box, style=style, cls="paper", aria_hidden="true")
    picture = el("svg", drawing, viewBox=box, style=style, role="img", aria_label=title)
    return el("figure", picture, again, el("figcaption", title))


def _places(xs: list[int], ys: list[int]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Where the cores of each tile are drawn; tiles as squares of cores."""
    tiles: dict[tuple[int, int], int] = {}
    for x, y in zip(xs, ys, strict=True):
        tiles[x, y] = tiles.get((x, y), 0) + 1
    side = ceil(sqrt(max(tiles.values())))
    pitch = side * (CELL + GAP) + (TILE_GAP if side > 1 else 1)
    return {
        (x, y): [(x * pitch + i % side * (CELL + GAP), y * pitch + i // side * (CELL + GAP)) for i in range(cores)]
        for (x, y), cores in tiles.items()
    }


def _about(use: CoreUse) -> str:
    return (
        f"core {use.core} at ({use.x}, {use.y}): {', '.join(use.layers)}\n{use.neurons:,} neurons, "
        f"{size(sum(use.bytes.values()))}, {percent(use.memory_use)} of its fullest memory\n"
        f"{count(use.messages_in)} messages in, {count(use.messages_out)} out per sample"
    )


def _layers(numbers: Numbers) -> Markup:
    """Which cores hold which layer."""
    report = numbers.report
    held = [(layer.name, layer.cores, layer.core_bytes) for layer in report.layers if layer.cores]
    held.append((READOUT, report.ends[READOUT].cores, report.ends[READOUT].core_bytes))
    rows = [
        el(
            "li",
            el("span", name, cls="label", title=name),
            el("span", _spans_of(cores)),
            el("span", size(sum((by_purpose or {}).values())), cls="value"),
        )
        for name, cores, by_purpose in held
    ]
    head = el("li", *(el("span", text, cls="sub") for text in ("layer", "cores", "memory")))
    return el("ol", head, *rows, cls="places")


def _spans_of(cores: list[int]) -> str:
    """0, 3–7, 9."""
    spans: list[list[int]] = []
    for core in cores:
        if spans and core == spans[-1][1] + 1:
            spans[-1][1] = core
        else:
            spans.append([core, core])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in spans)


def _table(numbers: Numbers, uses: list[CoreUse]) -> Markup:
    fullest = sorted(uses, key=lambda use: -use.memory_use)[:LISTED_CORES]
    head = "core", "chip", "x, y", "layers", "neurons", "memory", "messages in", "out"
    rows = []
    for use in fullest:
        cells = (
            str(use.core),
            str(use.chip + 1),
            f"{use.x}, {use.y}",
            ", ".join(use.layers),
            numbers.show(use, "neurons", count),
            numbers.show(use, "memory_use", percent),
            numbers.show(use, "messages_in", count),
            numbers.show(use, "messages_out", count),
        )
        rows.append(el("tr", *(el("td", cell, cls="text" if i == 3 else None) for i, cell in enumerate(cells))))
    more = f" (the {len(fullest)} fullest of {len(uses)}; all are in the JSON form)" if len(uses) > len(fullest) else ""
    table = el("table", el("thead", el("tr", *(el("th", name) for name in head))), el("tbody", *rows))
    return el("details", el("summary", f"Cores in numbers{more}"), el("div", table, cls="wide"))
