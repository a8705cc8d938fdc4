"""Targets as Markdown tables, so that docs/targets.md always says what the files say.

python -m hmdf.hw_targets.tables docs/targets.md     # rewrites the tables between its markers
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from .target import Fact, Target, load_target, target_names

_TABLE = re.compile(r"(<!-- table (?P<name>[a-z0-9_]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(target: Target) -> str:
    """Every number of a target with status, source and note; then what the source keys stand for."""
    rows = [f"| `{f.key}` | {_value(f)} | {f.status} | {f.source} | {f.note} |" for f in target.facts]
    sources = [f"* **{key}**: {text}" for key, text in target.sources.items()]
    head = ["| key | value | status | source | note |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", *sources]) + "\n"


def refresh(text: str) -> str:
    """A document with the table between each pair of markers replaced by that of its target."""
    return _TABLE.sub(lambda m: f"{m[1]}{markdown(load_target(m['name']))}{m[3]}", text)


def documented(text: str) -> list[str]:
    """Names of the targets that a document has a table for."""
    return [match["name"] for match in _TABLE.finditer(text)]


def _value(fact: Fact) -> str:
    unit = f" {fact.unit}" if fact.unit else ""
    if isinstance(fact.value, dict):
        low, typical, high = (fact.value[k] for k in ("low", "typical", "high"))
        return f"{typical:g}{unit}" if low == high else f"{low:g} - {typical:g} - {high:g}{unit}"
    return _plain(fact.value) + unit


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(refresh(path.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{path}: {len(documented(path.read_text(encoding='utf-8')))} of {len(target_names())} targets")
