"""Targets side by side, with the same network as an ANN."""

from __future__ import annotations

from typing import Any

from .charts import Scale, Span, spans
from .markup import Child, Markup, Numbers, count, duration, el, energy, join, size
from .verdict import sign


def comparison(numbers: Numbers) -> Markup:
    """Energy of every target on one axis, then their figures, then why some do not fit."""
    rows = numbers.value("/targets")
    costs = [row["energy_pj"] for row in rows if row["energy_pj"]]
    ann = numbers.value("/ann")
    costs += [ann["int8_energy_pj"], ann["fp32_energy_pj"]]
    scale = Scale.over([cost[key] for cost in costs for key in ("low", "typical", "high")])
    drawn = [_target_span(numbers, index) for index in range(len(rows))]
    drawn += [
        _ann_span(numbers, "8-bit ANN, 45 nm", "/ann/int8_energy_pj"),
        _ann_span(numbers, "fp32 ANN, 45 nm", "/ann/fp32_energy_pj"),
    ]
    about = (
        "Energy of one sample, low to high with a dot at typical, on a logarithmic axis. Hollow: the program does not "
        "fit as it is, the figure holds once its findings are mended. The ANN is this network in one pass, every "
        "weight used."
    )
    return join(
        el("p", about, cls="sub"), spans(drawn, scale, scale.ticks(energy)), _figures(numbers), _reasons(numbers)
    )


def _target_span(numbers: Numbers, index: int) -> Span:
    row, at = numbers.value(f"/targets/{index}"), f"/targets/{index}"
    label = [sign(row["fits"]), row["title"]]
    cost = row["energy_pj"]
    if cost is None:
        why = "fits no core" if row["cores"] is None else "not known"
        return Span(label, None, why, "none")
    figures = cost["low"], cost["typical"], cost["high"]
    return Span(label, figures, numbers.show(f"{at}/energy_pj/typical", energy), "fits" if row["fits"] else "unfit")


def _ann_span(numbers: Numbers, label: str, at: str) -> Span:
    cost = numbers.value(at)
    return Span(label, (cost["low"], cost["typical"], cost["high"]), numbers.show(f"{at}/typical", energy), "ann")


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
