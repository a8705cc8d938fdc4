"""What can be trusted and why: verification, metrics, provenance, and every constant with its source and status."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hmdf.hw_targets.schema import Fact
from hmdf.hw_targets.tables import value_text

from ...documents.report import Report
from ...text import count, number, percent, size
from .markup import Child, Markup, Numbers, el, join

WORDS = {
    "SOP": "synaptic operation: one non-zero spike meets one non-zero weight. Where nothing is sent, nothing is spent.",
    "MAC": "multiply-accumulate of a dense message (an input picture, a residual stream): spent whatever its value.",
    "density": "share of neurons and time-steps that send a non-zero message.",
    "time-step": "the network looks at a sample several times; logits are summed over these steps.",
    "graded spike": "a spike with a size: here an unsigned integer of a few bits.",
    "head-room": "bits between what a register can need for any input at all (proven) and what the chip gives it.",
    "SQNR": "signal to quantization noise ratio: how far the integers are from the float network.",
    "bit-exact": "every integer of every neuron at every step is the same in several independent executors.",
    "low – typical – high": "where a chip's energy per event is not published, the range that can be argued for it.",
    "lower bound": "fewest cores that any mapping could use: total need divided by what one core has.",
}


def checks(numbers: Numbers) -> Markup:
    """Executors that were compared, and the metrics of the NeuroBench community."""
    return el("div", _verification(numbers), _metrics(numbers), cls="cards")


def _pairs(*rows: tuple[Child, Child]) -> Markup:
    return el("dl", *(part for name, value in rows for part in (el("dt", name), el("dd", value))))


def _verification(numbers: Numbers) -> Markup:
    rows: list[tuple[Child, Child]] = []
    for name, one in numbers.report.verify.items():
        label = "simulator = reference" if name == "reference" else name
        if one.first_mismatch is None:
            outcome: Child = [
                "equal: ", numbers.show(one, "compared", number), " integers, ", numbers.show(one, "samples", count),
                " samples, ", numbers.show(one, "populations", count), " populations",
            ]  # fmt: skip
        else:
            where = msgspec.structs.asdict(one.first_mismatch)
            outcome = "DIFFERS, first at " + ", ".join(f"{key} {value}" for key, value in where.items())
        rows.append((label, outcome))
    content = _pairs(*rows) if rows else el("p", "Not verified: hmdf-sim --verify reference,onnx,lava", cls="sub")
    about = el("p", "The same program in independent executors, integer by integer.", cls="sub")
    return el("article", el("h3", "Verification"), about, content, cls="card")


def _metrics(numbers: Numbers) -> Markup:
    metrics, show = numbers.report.neurobench, numbers.show
    operations = metrics.synaptic_operations
    rows = (
        ("Footprint", show(metrics, "footprint", size)),
        ("Connection sparsity", show(metrics, "connection_sparsity", percent)),
        ("Activation sparsity", show(metrics, "activation_sparsity", percent)),
        ("Effective MACs", show(operations, "Effective_MACs", count)),
        ("Effective ACs", show(operations, "Effective_ACs", count)),
        ("Dense operations", show(operations, "Dense", count)),
        ("Membrane updates", show(metrics, "membrane_updates", count)),
    )
    about = el("p", "Under the names of the NeuroBench community, per sample.", cls="sub")
    return el("article", el("h3", "NeuroBench metrics"), about, _pairs(*rows), cls="card")


def provenance(report: Report) -> Markup:
    """Hashes, versions and commands."""
    about, program, run = report.provenance, report.program, report.provenance.measured
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    rows: list[tuple[Child, Child]] = [
        *([("Compiled with", el("code", about.compiled.command))] if about.compiled else []),
        ("Measured with", el("code", run.command)),
        ("Finished", run.finished),
        ("Versions", f"{versions}; {run.machine}"),
        ("Program SHA-256", el("code", about.program_sha256)),
        ("Trained model SHA-256", el("code", about.source_sha256 or "not recorded")),
        ("Compiled by", f"hmdf {about.compiler_version} for {program.compiled_for or 'no target'}"),
        ("Calibrated on", f"{about.calibration_samples:,} samples of {about.calibration_data or 'unnamed data'}"),
        ("Size", f"{program.neurons:,} neurons, {program.weights:,} weights"),
    ]
    rows += [(f"SHA-256 of {file.name}", el("code", file.sha256)) for file in about.files]
    notes = [el("h3", "Notes of the compiler"), el("ul", *(el("li", note) for note in report.notes))]
    return join(_pairs(*rows), notes if report.notes else None)


def constants(report: Report) -> Markup:
    """All numbers of the target, then those of the others that entered a figure."""
    first = join(el("p", report.target.summary, cls="sub"), _facts(report.target.facts, report.targets[0].sources))
    others = [
        el("details", el("summary", row.title), _facts(row.constants, row.sources))
        for row in report.targets[1:]
        if row.constants
    ]
    literature = el("summary", "Other networks, on the literature's constants")
    ann = el("details", literature, _facts(report.ann_constants, {}))
    return join(first, el("h3", "Constants of the targets compared"), *others, ann)


def _facts(facts: Sequence[Fact], sources: dict[str, str]) -> Markup:
    return el("ul", *(_fact(fact, sources) for fact in facts), cls="facts")


def _fact(fact: Fact, sources: dict[str, str]) -> Markup:
    status = el("span", fact.status, cls=f"status {fact.status}")
    source = el("small", "Source: ", sources.get(fact.source, fact.source))
    note = el("small", fact.note) if fact.note else None
    return el("li", el("code", fact.key), el("b", value_text(fact, "–")), status, el("div", note, source))


def glossary() -> Markup:
    """The words of this report."""
    return _pairs(*((el("b", word), meaning) for word, meaning in WORDS.items()))
