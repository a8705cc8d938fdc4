"""Targets side by side, with the same network as an ANN."""

from __future__ import annotations

from typing import Any

from hmdf.tools.text import COUNTED_BY

from .charts import Scale, Span, spans
from .first_screen import sign
from .markup import Child, Markup, Numbers, count, duration, el, energy, join, percent, size


def comparison(numbers: Numbers) -> Markup:
    """Energy of every target on one axis, their figures, why some do not fit; then other networks."""
    rows = numbers.value("/targets")
    drawn = [_target_span(numbers, index) for index in range(len(rows))]
    about = (
        "Energy of one sample, low to high with a dot at typical, on a logarithmic axis. Hollow: the program does not "
        "fit as it is, the figure holds once its findings are mended."
    )
    return join(el("p", about, cls="sub"), _drawn(drawn), _figures(numbers), _reasons(numbers), _networks(numbers))


def _drawn(rows: list[Span]) -> Markup:
    scale = Scale.over([figure for row in rows if row.figures is not None for figure in row.figures])
    return spans(rows, scale, scale.ticks(energy))


def _target_span(numbers: Numbers, index: int) -> Span:
    row, at = numbers.value(f"/targets/{index}"), f"/targets/{index}"
    label = [sign(row["fits"]), row["title"]]
    if row["energy_pj"] is None:
        return Span(label, None, "fits no core" if row["cores"] is None else "not known", "none")
    return _span(numbers, label, f"{at}/energy_pj", "fits" if row["fits"] else "unfit")


def _span(numbers: Numbers, label: Child, at: str, kind: str) -> Span:
    cost = numbers.value(at)
    return Span(label, (cost["low"], cost["typical"], cost["high"]), numbers.show(f"{at}/typical", energy), kind)


# ----------------------------------------------------------------------- other networks


def _networks(numbers: Numbers) -> Markup:
    """This program, the baseline it was measured against, and itself as an ANN, on the literature's constants."""
    literature, baseline = numbers.value("/literature"), numbers.value("/baseline")
    rows = []
    if literature["energy_pj"] is not None:
        rows.append(_span(numbers, "This program", "/literature/energy_pj", "fits"))
    for index, counted in enumerate(literature["conventions"]):
        if counted["name"] in COUNTED_BY:
            one, shown = counted["energy_pj"], numbers.show(f"/literature/conventions/{index}/energy_pj", energy)
            rows.append(Span(f"… {COUNTED_BY[counted['name']]}", (one, one, one), shown, "fits"))
    if baseline is not None and baseline["energy_pj"] is not None:
        label = f"Baseline {baseline['network'] or baseline['file']}"
        rows.append(_span(numbers, label, "/baseline/energy_pj", "unfit"))
    rows.append(_span(numbers, "Its 8-bit ANN", "/ann/int8_energy_pj", "ann"))
    rows.append(_span(numbers, "Its fp32 ANN", "/ann/fp32_energy_pj", "ann"))
    about = (
        "Energy of one sample on the 45 nm constants of the literature, which charge operations only. The ANN is this "
        "network in one pass, every weight used."
    )
    return join(
        el("h3", "Other networks"), el("p", about, cls="sub"), _drawn(rows), _beside(numbers) if baseline else None
    )


def _beside(numbers: Numbers) -> Markup:
    """The baseline's figures beside this program's."""
    shown = numbers.value("/baseline/targets")
    rows: list[tuple[str, Child, Child]] = [
        ("accuracy", numbers.show("/accuracy/integer", percent), numbers.show("/baseline/accuracy", percent)),
        ("SOPs", numbers.show("/sops/per_sample", count), numbers.show("/baseline/sops_per_sample", count)),
        ("MACs", numbers.show("/macs/per_sample", count), numbers.show("/baseline/macs_per_sample", count)),
    ]
    places = {row["target"]: index for index, row in enumerate(numbers.value("/targets"))}
    for index, row in enumerate(shown):
        mine = places.get(row["target"])
        if mine is not None and row["energy_pj"] is not None and numbers.value(f"/targets/{mine}/energy_pj"):
            theirs = numbers.show(f"/baseline/targets/{index}/energy_pj/typical", energy)
            name = f"energy on {row['target']}"
            rows.append((name, numbers.show(f"/targets/{mine}/energy_pj/typical", energy), theirs))
    head = el("tr", el("th"), el("th", "this program"), el("th", f"baseline ({numbers.value('/baseline/file')})"))
    body = [el("tr", el("td", name), el("td", mine), el("td", theirs)) for name, mine, theirs in rows]
    return el("table", el("thead", head), el("tbody", *body), cls="beside")


# ------------------------------------------------------------------------------ figures


def _figures(numbers: Numbers) -> Markup:
    head = "target", "fits", "cores", "chips", "memory", "energy per sample", "constants", "latency"
    body = []
    for index, row in enumerate(numbers.value("/targets")):
        at = f"/targets/{index}"
        findings = len(row["findings"])
        fits = "yes" if row["fits"] else f"no, {findings} finding{'s' if findings != 1 else ''}"
        cells: list[Child] = [
            row["title"],
            [sign(row["fits"]), fits],
            numbers.show(f"{at}/cores", count),
            numbers.show(f"{at}/chips", count),
            numbers.show(f"{at}/memory_bytes", size),
            numbers.triple(f"{at}/energy_pj", energy) if row["energy_pj"] else "–",
            row["energy_status"] or "–",
            numbers.triple(f"{at}/latency_ns", duration) if row["latency_ns"] else "–",
        ]
        names = ("text", "text", None, None, None, None, "text", None)
        pairs = zip(head, cells, names, strict=True)
        body.append(el("tr", *(el("td", el("span", cell), cls=kind, data_label=label) for label, cell, kind in pairs)))
    table = el("table", el("thead", el("tr", *(el("th", name) for name in head))), el("tbody", *body), cls="stacked")
    return table


def _reasons(numbers: Numbers) -> Markup:
    others = numbers.value("/targets")[1:]
    return join(*(_why_not(row) for row in others if row["findings"]))


def _why_not(row: dict[str, Any]) -> Markup:
    count_of = f"{len(row['findings'])} finding{'s' if len(row['findings']) != 1 else ''}"
    return el("details", el("summary", f"{row['title']}: {count_of}"), findings(row["findings"]))


def findings(rows: list[dict[str, Any]]) -> Markup:
    """Every reason why a program does not fit, with the smallest change that mends it."""
    return el("ul", *(_finding(row) for row in rows), cls="findings")


def _finding(row: dict[str, Any]) -> Markup:
    needs = el("span", f"needs {row['needed']}, there is {row['available']}", cls="sub")
    fix = el("p", el("b", "Mend: "), row["fix"])
    return el("li", el("p", el("code", row["node"]), " ", row["message"], " ", needs), fix)
