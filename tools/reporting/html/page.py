"""The page: one file that needs no network, no script and no other file."""

from __future__ import annotations

from importlib.resources import files

from hmdf.hw_targets.place.mapping import Mapping

from ...documents.report import Report
from .chip_map import chip_map
from .first_screen import first_screen
from .layer_charts import charts
from .markup import Child, Markup, Numbers, el, join
from .network import network
from .one_sample import one_sample
from .sources import checks, constants, glossary, provenance
from .targets import comparison, findings

# Nothing may be fetched or executed, whatever a name in the files tried to smuggle in.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(report: Report) -> str:
    """The report as HTML."""
    numbers = Numbers(report)
    sections = [section for section in _sections(numbers) if section is not None]
    links = [el("a", name.capitalize(), href=f"#{name}") for name, _, _ in sections]
    body = [
        el("header", el("p", "hmdf report", cls="brand"), el("h1", report.title)),
        first_screen(numbers),
        el("nav", *links, aria_label="sections"),
        *(el("section", el("h2", title), content, id=name) for name, title, content in sections),
        el("footer", el("p", "Every number here is computed from the program and from counters measured on samples.")),
    ]
    style = Markup(files(__package__).joinpath("style.css").read_text(encoding="utf-8"))
    head = [
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", report.title),
        el("style", style),
    ]
    return f"<!DOCTYPE html>\n{el('html', el('head', *head), el('body', el('main', *body)), lang='en')}\n"


def _sections(numbers: Numbers) -> list[tuple[str, str, Child] | None]:
    report = numbers.report
    unfit, mapping, sample = report.targets[0].findings, report.target.mapping, report.sample
    return [
        ("findings", "What keeps it from fitting", findings(unfit)) if unfit else None,
        ("layers", "Layer by layer", charts(numbers)),
        ("chip", "On the chip", join(_travel(mapping), chip_map(numbers, mapping))) if mapping else None,
        ("sample", "One sample", one_sample(numbers, sample)) if sample else None,
        ("targets", "Other targets", comparison(numbers)),
        ("network", "The network", network(numbers)),
        ("checks", "Checks", checks(numbers)),
        ("provenance", "Provenance", provenance(report)),
        ("constants", "Constants and their sources", constants(report)),
        ("words", "Words", glossary()),
    ]


def _travel(mapping: Mapping) -> Markup:
    text = (
        f"A message travels {mapping.mean_hops:.2f} links on average, at most {mapping.longest_way}. "
        f"Traffic: {mapping.traffic}."
    )
    if mapping.mesh_assumed:
        text += " How this chip arranges its cores is not published: a square is assumed."
    return el("p", text, cls="sub")
