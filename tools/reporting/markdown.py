"""The report as Markdown: the same document, for a repository or an issue."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hmdf.hw_targets.schema import Cost, triple
from hmdf.hw_targets.tables import value_text

from ..documents.report import Report
from ..documents.run import NoiseRow
from ..text import COUNTED_BY, Style, count, decibel, duration, energy, percent, size
from .html.layer_charts import EVENTS

ANNS = ("8-bit", "int8"), ("fp32", "fp32")


def markdown(report: Report) -> str:
    """The report as GitHub-flavoured Markdown."""
    parts = [
        f"# {_safe(report.title)}",
        *_overview(report),
        *_layers(report),
        *_energy(report),
        *_targets(report),
        *_networks(report),
        *_verification(report),
        *_provenance(report),
        *_constants(report),
    ]
    return "\n".join(parts) + "\n"


def _safe(text: object) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(str(text).split()))


def _code(text: object) -> str:
    """Text as code; a backtick or a bar cannot end it."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39)).replace('|', '¦')}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return ["", *lines]


def _show(value: float | None, style: Style) -> str:
    return "–" if value is None else style(value)


def _range(cost: Cost | None, style: Style) -> str:
    if cost is None:
        return "–"
    return style(cost.typical) if cost.low == cost.high else " – ".join(map(style, triple(cost)))


def _overview(report: Report) -> list[str]:
    row, accuracy = report.targets[0], report.accuracy
    text = "Fits" if row.fits else "**Does not fit**"
    rows = [
        ["fits", f"{text} {_safe(row.title)}"],
        ["accuracy as integers", _show(accuracy.integer, percent)],
        ["accuracy of the float network", _show(accuracy.floating, percent)],
        ["same class", _show(accuracy.agreement, percent)],
        ["energy per sample", f"{_range(row.energy_pj, energy)} ({row.energy_status or 'not known'})"],
        ["latency", _range(row.latency_ns, duration)],
        ["memory on the chip", _show(row.memory_bytes, size)],
        ["memory of the program", size(report.memory.total_bytes)],
        ["cores", _show(row.cores, count)],
        ["chips", _show(row.chips, count)],
        ["SOPs per sample", count(report.sops.per_sample)],
        ["MACs per sample", count(report.macs.per_sample)],
        ["samples", count(report.samples)],
    ]
    if (held := row.footprint) is not None:
        rows += [["flash", size(held.flash_bytes)], ["RAM", size(held.ram_bytes)]]
        rows.append(["instructions per sample (QEMU, not cycles)", _show(held.instructions, count)])
    lines = _table(["", ""], rows)
    for finding in row.findings:
        lines += ["", f"* {_code(finding.where)}: {_safe(finding.problem)}. Fix: {_safe(finding.fix)}"]
    return lines


def _layers(report: Report) -> list[str]:
    rows = [
        [
            _code(layer.name),
            layer.kind.replace("_", " "),
            "×".join(map(str, layer.shape)),
            _show(layer.sops_per_sample, count),
            _show(layer.macs_per_sample, count),
            percent(layer.spike_density),
            _show(layer.weight_bytes, size),
            f"{layer.register_bits} / {layer.register_limit}",
            _range(layer.energy_pj, energy),
            _noise(layer.noise),
        ]
        for layer in report.layers
    ]
    head = ["layer", "kind", "shape", "SOPs", "MACs", "density", "weights", "register bits", "energy", "SQNR"]
    return ["", "## Layers", *_table(head, rows)]


def _noise(noise: NoiseRow | None) -> str:
    if noise is None:
        return "–"
    return "exact" if noise.sqnr_db is None else decibel(noise.sqnr_db)


def _energy(report: Report) -> list[str]:
    events = report.targets[0].energy_by_constant_pj or {}
    rows = [[EVENTS.get(name, name), _range(cost, energy)] for name, cost in events.items()]
    return ["", "## Energy by kind of event", *_table(["event", "low – typical – high"], rows)] if rows else []


def _targets(report: Report) -> list[str]:
    rows = [
        [
            _safe(row.title),
            "yes" if row.fits else f"no ({len(row.findings)})",
            _show(row.cores, count),
            _show(row.chips, count),
            _range(row.energy_pj, energy),
            row.energy_status or "–",
            _range(row.latency_ns, duration),
        ]
        for row in report.targets
    ]
    head = ["target", "fits (findings)", "cores", "chips", "energy", "constants", "latency"]
    return ["", "## Targets", *_table(head, rows)]


def _networks(report: Report) -> list[str]:
    literature, baseline = report.literature, report.baseline
    rows = [["this program", _range(literature.energy_pj, energy)]]
    rows += [[COUNTED_BY[one.name], energy(one.energy_pj)] for one in literature.conventions if one.name in COUNTED_BY]
    if literature.beyond_pj:
        rows.append(["beyond it, every MAC at 4.6 pJ", energy(literature.beyond_pj)])
    if baseline is not None:
        name = _safe(f"baseline {baseline.network} ({baseline.file})")
        rows.append([name, _range(baseline.energy_pj, energy)])
    rows += [[f"its {name} ANN", _range(getattr(report.ann, f"{key}_energy_pj"), energy)] for name, key in ANNS]
    head = ["network", "energy per sample, 45 nm"]
    return ["", "## Other networks, on the literature's constants", *_table(head, rows)]


def _verification(report: Report) -> list[str]:
    rows = [
        [_safe(name), "yes" if v.bit_exact else "**no**", count(v.compared), count(v.samples)]
        for name, v in report.verify.items()
    ]
    head = ["executor", "bit-exact", "integers compared", "samples"]
    return ["", "## Verification", *_table(head, rows)] if rows else []


def _provenance(report: Report) -> list[str]:
    about = report.provenance
    run = about.measured
    lines = [f"* command: {_code(run.command)}", f"* finished: {_safe(run.finished)}"]
    lines += [f"* {_safe(name)} {_safe(version)}" for name, version in run.versions.items()]
    lines += [f"* program: {_code(about.program_sha256)}"]
    lines += [f"* {_safe(file.name)}: {_code(file.sha256)}" for file in about.files]
    lines += [f"* note: {_safe(note)}" for note in report.notes]
    return ["", "## Provenance", "", *lines]


def _constants(report: Report) -> list[str]:
    sources = report.targets[0].sources
    rows = [
        [
            _code(f.key),
            _safe(value_text(f, "–")),
            f.status,
            _safe(sources.get(f.source, f.source)),
            _safe(f.note),
        ]
        for f in report.target.facts
    ]
    return ["", "## Constants", *_table(["key", "value", "status", "source", "note"], rows)]
