"""The page: one file that needs no network, no script and no other file."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from .chip_map import chip_map
from .first_screen import verdict
from .layer_charts import charts
from .markup import Child, Markup, Numbers, el, join
from .network import network
from .one_sample import story
from .sources import checks, constants, glossary, provenance
from .targets import comparison, findings

# Nothing may be fetched or executed, whatever a name in the files tried to smuggle in.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(document: dict[str, Any]) -> str:
    """The report of a document (see `assemble.gather`) as HTML."""
    numbers = Numbers(document)
    sections = [section for section in _sections(numbers) if section is not None]
    links = [el("a", name.capitalize(), href=f"#{name}") for name, _, _ in sections]
    body = [
        el("header", el("p", "hmdf report", cls="brand"), el("h1", document["title"])),
        verdict(numbers),
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
        el("title", document["title"]),
        el("style", style),
    ]
    return f"<!DOCTYPE html>\n{el('html', el('head', *head), el('body', el('main', *body)), lang='en')}\n"


def _sections(numbers: Numbers) -> list[tuple[str, str, Child] | None]:
    document = numbers.document
    unfit = document["targets"][0]["findings"]
    mapping = document["target"]["mapping"]
    return [
        ("findings", "What keeps it from fitting", findings(unfit)) if unfit else None,
        ("layers", "Layer by layer", charts(numbers)),
        ("chip", "On the chip", join(_chip_facts(document), chip_map(numbers))) if mapping else None,
        ("sample", "One sample", story(numbers)) if document["sample"] else None,
        ("targets", "Other targets", comparison(numbers)),
        ("network", "The network", network(numbers)),
        ("checks", "Checks", checks(numbers)),
        ("provenance", "Provenance", provenance(numbers)),
        ("constants", "Constants and their sources", constants(numbers)),
        ("words", "Words", glossary()),
    ]


def _chip_facts(document: dict[str, Any]) -> Markup:
    mapping = document["target"]["mapping"]
    text = (
        f"A message travels {mapping['mean_hops']:.2f} links on average, at most {mapping['longest_way']}. "
        f"Traffic: {mapping['traffic']}."
    )
    if mapping["mesh_assumed"]:
        text += " How this chip arranges its cores is not published: a square is assumed."
    return el("p", text, cls="sub")
