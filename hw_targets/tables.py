"""The shipped targets as Markdown, so that the documentation always says what their files say.

python -m hmdf.hw_targets.tables docs     # writes docs/chips/*.md and the list of docs/targets.md
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from .schema import Fact, Target
from .target import load_target, target_names

_LIST = re.compile(r"(<!-- chips -->\n).*?(<!-- end -->)", re.DOTALL)


def page(target: Target) -> str:
    """About a target; every number with status, source and note; then what the source keys stand for."""
    rows = [f"| `{f.key}` | {value_text(f)} | {f.status} | {f.source} | {f.note} |" for f in target.facts]
    head = ["| key | value | status | source | note |", "|---|---|---|---|---|"]
    sources = [_item(f"* **{key}**: {text}") for key, text in target.sources.items()]
    file = f"`hw_targets/chips/{target.name}.toml`"
    origin = f"Generated from {file}; [targets.md](../targets.md) says what the keys mean."
    parts = [f"# {target.title}", target.about.strip(), origin, "\n".join([*head, *rows]), "\n".join(sources)]
    return "\n\n".join(part for part in parts if part) + "\n"


def pages() -> dict[str, str]:
    """The page of every shipped target, by file name."""
    return {f"{name}.md": page(load_target(name)) for name in target_names()}


def with_list(text: str) -> str:
    """A document with the list of the shipped targets between its markers."""
    targets = [load_target(name) for name in target_names()]
    rows = [f"| [{t.name}](chips/{t.name}.md) | {t.title} | {t.summary} |" for t in targets]
    listed = "\n".join(["| name | chip | in short |", "|---|---|---|", *rows])
    return _LIST.sub(lambda m: f"{m[1]}{listed}\n{m[2]}", text)


def _item(text: str) -> str:
    return textwrap.fill(text, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def value_text(fact: Fact, dash: str = "-") -> str:
    """The value of a fact: low - typical - high of a cost, names of a list, in brackets what else it may be."""
    unit = f" {fact.unit}" if fact.unit else ""
    if isinstance(fact.value, dict):
        low, typical, high = (fact.value[k] for k in ("low", "typical", "high"))
        return f"{typical:g}{unit}" if low == high else f"{low:g} {dash} {typical:g} {dash} {high:g}{unit}"
    bounds = f" ({_plain(fact.low)} {dash} {_plain(fact.high)})" if fact.low is not None else ""
    return _plain(fact.value) + unit + bounds


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    docs = Path(sys.argv[1])
    written = {**{f"chips/{name}": text for name, text in pages().items()}}
    written["targets.md"] = with_list((docs / "targets.md").read_text(encoding="utf-8"))
    (docs / "chips").mkdir(exist_ok=True)
    for name, text in written.items():
        (docs / name).write_text(text, encoding="utf-8")
    print(f"{docs}: {', '.join(written)}")
