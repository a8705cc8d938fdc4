"""The report as Markdown: the same document, for a repository or an issue."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from hmdf.tools.text import COUNTED_BY

from .html.layer_charts import EVENTS
from .html.markup import count, decibel, duration, energy, percent, size
from .html.sources import fact_value

ANNS = ("8-bit", "int8"), ("fp32", "fp32")


def markdown(document: dict[str, Any]) -> str:
    """The document (see `assemble.gather`) as GitHub-flavoured Markdown."""
    parts = [
        f"# {_safe(document['title'])}",
        *_verdict(document),
        *_layers(document),
        *_energy(document),
        *_targets(document),
        *_networks(document),
        *_verification(document),
        *_provenance(document),
        *_constants(document),
    ]
    return "\n".join(parts) + "\n"


def _safe(text: Any) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(str(text).split()))


def _code(text: Any) -> str:
    """Text as code; a backtick or a bar cannot end it."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39)).replace('|', '¦')}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return ["", *lines]


def _show(value: float | None, style: Callable[[float], str]) -> str:
    return "–" if value is None else style(value)


def _range(cost: dict[str, float] | None, style: Callable[[float], str]) -> str:
    if cost is None:
        return "–"
    if cost["low"] == cost["high"]:
        return style(cost["typical"])
    return " – ".join(style(cost[key]) for key in ("low", "typical", "high"))


def _verdict(document: dict[str, Any]) -> list[str]:
    row, accuracy = document["targets"][0], document["accuracy"]
    text = "Fits" if row["fits"] else "**Does not fit**"
    rows = [
        ["fits", f"{text} {_safe(row['title'])}"],
        ["accuracy as integers", _show(accuracy["integer"], percent)],
        ["accuracy of the float network", _show(accuracy["float"], percent)],
        ["same class", _show(accuracy["agreement"], percent)],
        ["energy per sample", f"{_range(row['energy_pj'], energy)} ({row['energy_status'] or 'not known'})"],
        ["latency", _range(row["latency_ns"], duration)],
        ["memory on the chip", _show(row["memory_bytes"], size)],
        ["memory of the program", size(document["memory"]["total_bytes"])],
        ["cores", _show(row["cores"], count)],
        ["chips", _show(row["chips"], count)],
        ["SOPs per sample", count(document["sops"]["per_sample"])],
        ["MACs per sample", count(document["macs"]["per_sample"])],
        ["samples", count(document["samples"])],
    ]
    lines = _table(["", ""], rows)
    for finding in row["findings"]:
        message, fix = _safe(finding["message"]), _safe(finding["fix"])
        lines += ["", f"* {_code(finding['node'])}: {message}. Mend: {fix}"]
    return lines


def _layers(document: dict[str, Any]) -> list[str]:
    rows = [
        [
            _code(layer["name"]),
            layer["kind"].replace("_", " "),
            "×".join(map(str, layer["shape"])),
            _show(layer["sops_per_sample"], count),
            _show(layer["macs_per_sample"], count),
            percent(layer["spike_density"]),
            _show(layer["weight_bytes"], size),
            f"{layer['register_bits']} / {layer['register_limit']}",
            _range(layer["energy_pj"], energy),
            _noise(layer["noise"]),
        ]
        for layer in document["layers"]
    ]
    head = ["layer", "kind", "shape", "SOPs", "MACs", "density", "weights", "register bits", "energy", "SQNR"]
    return ["", "## Layers", *_table(head, rows)]


def _noise(noise: dict[str, Any] | None) -> str:
    if noise is None:
        return "–"
    return "exact" if noise["sqnr_db"] is None else decibel(noise["sqnr_db"])


def _energy(document: dict[str, Any]) -> list[str]:
    events = document["targets"][0].get("energy_by_constant_pj", {})
    rows = [[EVENTS.get(name, name), _range(cost, energy)] for name, cost in events.items()]
    return ["", "## Energy by kind of event", *_table(["event", "low – typical – high"], rows)] if rows else []


def _targets(document: dict[str, Any]) -> list[str]:
    rows = [
        [
            _safe(row["title"]),
            "yes" if row["fits"] else f"no ({len(row['findings'])})",
            _show(row["cores"], count),
            _show(row["chips"], count),
            _range(row["energy_pj"], energy),
            row["energy_status"] or "–",
            _range(row["latency_ns"], duration),
        ]
        for row in document["targets"]
    ]
    head = ["target", "fits (findings)", "cores", "chips", "energy", "constants", "latency"]
    return ["", "## Targets", *_table(head, rows)]


def _networks(document: dict[str, Any]) -> list[str]:
    literature, baseline = document["literature"], document["baseline"]
    rows = [["this program", _range(literature["energy_pj"], energy)]]
    for counted in literature["conventions"]:
        if counted["name"] in COUNTED_BY:
            rows.append([COUNTED_BY[counted["name"]], energy(counted["energy_pj"])])
    if baseline is not None:
        name = _safe(f"baseline {baseline['network']} ({baseline['file']})")
        rows.append([name, _range(baseline["energy_pj"], energy)])
    rows += [[f"its {name} ANN", _range(document["ann"][f"{key}_energy_pj"], energy)] for name, key in ANNS]
    head = ["network", "energy per sample, 45 nm"]
    return ["", "## Other networks, on the literature's constants", *_table(head, rows)]


def _verification(document: dict[str, Any]) -> list[str]:
    rows = [
        [_safe(name), "yes" if v["bit_exact"] else "**no**", count(v["compared"]), count(v["samples"])]
        for name, v in document["verify"].items()
    ]
    head = ["executor", "bit-exact", "integers compared", "samples"]
    return ["", "## Verification", *_table(head, rows)] if rows else []


def _provenance(document: dict[str, Any]) -> list[str]:
    about = document["provenance"]
    run = about["measured"]
    lines = [f"* command: {_code(run['command'])}", f"* finished: {_safe(run['finished'])}"]
    lines += [f"* {_safe(name)} {_safe(version)}" for name, version in run["versions"].items()]
    lines += [f"* program: {_code(about['program_sha256'])}"]
    lines += [f"* {_safe(file['name'])}: {_code(file['sha256'])}" for file in about["files"]]
    lines += [f"* note: {_safe(note)}" for note in document["notes"]]
    return ["", "## Provenance", "", *lines]


def _constants(document: dict[str, Any]) -> list[str]:
    sources = document["targets"][0]["sources"]
    rows = [
        [
            _code(f["key"]),
            _safe(fact_value(f)),
            f["status"],
            _safe(sources.get(f["source"], f["source"])),
            _safe(f["note"]),
        ]
        for f in document["target"]["facts"]
    ]
    return ["", "## Constants", *_table(["key", "value", "status", "source", "note"], rows)]
