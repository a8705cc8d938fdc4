"""Targets side by side, with the same network as an ANN."""

from __future__ import annotations

from hmdf.hw_targets.schema import Cost
from hmdf.sim.finding import Finding

from ...documents.report import ComparedTarget
from ...documents.run import Baseline
from ...text import COUNTED_BY, count, duration, energy, percent, plural, size
from .charts import Scale, Span, spans
from .first_screen import sign
from .markup import Child, Markup, Numbers, el, join


def comparison(numbers: Numbers) -> Markup:
    """Energy of every target on one axis, their figures, why some do not fit; then other networks."""
    rows = numbers.report.targets
    about = (
        "Energy of one sample, low to high with a dot at typical, on a logarithmic axis. Hollow: the program does not "
        "fit as it is, the figure holds once its findings are fixed."
    )
    drawn = _drawn([_target_span(numbers, row) for row in rows])
    reasons = [
        el("details", el("summary", f"{row.title}: {plural(len(row.findings), 'finding')}"), findings(row.findings))
        for row in rows[1:]
        if row.findings
    ]
    return join(el("p", about, cls="sub"), drawn, _figures(numbers), reasons, _networks(numbers))


def _drawn(rows: list[Span]) -> Markup:
    known = [row.cost for row in rows if row.cost is not None]
    scale = Scale.over(known)
    return spans(rows, scale, scale.ticks(energy))


def _target_span(numbers: Numbers, row: ComparedTarget) -> Span:
    label = [sign(row.fits), row.title]
    if row.energy_pj is None:
        return Span(label, None, "fits no core" if row.cores is None else "not known", "none")
    return _span(numbers, label, row.energy_pj, "fits" if row.fits else "unfit")


def _span(numbers: Numbers, label: Child, cost: Cost, kind: str) -> Span:
    return Span(label, cost, numbers.typical(cost, energy), kind)


# ----------------------------------------------------------------------- other networks


def _networks(numbers: Numbers) -> Markup:
    """This program, the baseline it was measured against, and itself as an ANN, on the literature's constants."""
    literature, baseline, ann = numbers.report.literature, numbers.report.baseline, numbers.report.ann
    rows = []
    if literature.energy_pj is not None:
        rows.append(_span(numbers, "This program", literature.energy_pj, "fits"))
    for one in literature.conventions:
        if one.name in COUNTED_BY:
            point, shown = Cost(*[one.energy_pj] * 3), numbers.show(one, "energy_pj", energy)
            rows.append(Span(f"… {COUNTED_BY[one.name]}", point, shown, "fits"))
    if literature.beyond_pj:
        point, shown = Cost(*[literature.beyond_pj] * 3), numbers.show(literature, "beyond_pj", energy)
        rows.append(Span("… beyond it, every MAC at 4.6 pJ", point, shown, "unfit"))
    if baseline is not None and baseline.energy_pj is not None:
        rows.append(_span(numbers, f"Baseline {baseline.network or baseline.file}", baseline.energy_pj, "unfit"))
    rows.append(_span(numbers, "Its 8-bit ANN", ann.int8_energy_pj, "ann"))
    rows.append(_span(numbers, "Its fp32 ANN", ann.fp32_energy_pj, "ann"))
    about = (
        "Energy of one sample on the 45 nm constants of the literature, which charge operations only. The ANN is this "
        "network in one pass, every weight used."
    )
    table = _beside(numbers, baseline) if baseline is not None else None
    return join(el("h3", "Other networks"), el("p", about, cls="sub"), _drawn(rows), table)


def _beside(numbers: Numbers, baseline: Baseline) -> Markup:
    """The baseline's figures beside this program's."""
    report, show = numbers.report, numbers.show
    rows: list[tuple[str, Child, Child]] = [
        ("accuracy", show(report.accuracy, "integer", percent), show(baseline, "accuracy", percent)),
        ("SOPs", show(report.sops, "per_sample", count), show(baseline, "sops_per_sample", count)),
        ("MACs", show(report.macs, "per_sample", count), show(baseline, "macs_per_sample", count)),
    ]
    energies = {row.target: row.energy_pj for row in report.targets}
    for row in baseline.targets:
        mine = energies.get(row.target)
        if mine is not None and row.energy_pj is not None:
            pair = numbers.typical(mine, energy), numbers.typical(row.energy_pj, energy)
            rows.append((f"energy on {row.target}", *pair))
    head = el("tr", el("th"), el("th", "this program"), el("th", f"baseline ({baseline.file})"))
    body = [el("tr", *(el("td", cell) for cell in cells)) for cells in rows]
    return el("table", el("thead", head), el("tbody", *body), cls="beside")


# ------------------------------------------------------------------------------ figures


def _figures(numbers: Numbers) -> Markup:
    head = "target", "fits", "cores", "chips", "memory", "energy per sample", "constants", "latency"
    body = []
    for row in numbers.report.targets:
        cells: list[Child] = [
            row.title,
            [sign(row.fits), "yes" if row.fits else f"no, {plural(len(row.findings), 'finding')}"],
            numbers.show(row, "cores", count),
            numbers.show(row, "chips", count),
            numbers.show(row, "memory_bytes", size),
            numbers.ends(row.energy_pj, energy),
            row.energy_status or "–",
            numbers.ends(row.latency_ns, duration),
        ]
        kinds = ("text", "text", None, None, None, None, "text", None)
        pairs = zip(head, cells, kinds, strict=True)
        body.append(el("tr", *(el("td", el("span", cell), cls=kind, data_label=label) for label, cell, kind in pairs)))
    return el("table", el("thead", el("tr", *(el("th", name) for name in head))), el("tbody", *body), cls="stacked")


def findings(rows: list[Finding]) -> Markup:
    """Every reason why a program does not fit, with the smallest change that fixes it."""
    return el("ul", *(_finding(row) for row in rows), cls="findings")


def _finding(row: Finding) -> Markup:
    needs = el("span", f"needs {row.needed}, there is {row.available}", cls="sub")
    fix = el("p", el("b", "Fix: "), row.fix)
    return el("li", el("p", el("code", row.where), " ", row.problem, " ", needs), fix)
