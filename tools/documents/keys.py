"""Documents as Markdown tables of their keys, so that docs/reports.md and docs/explore.md say what is written.

python -m hmdf.tools.documents.keys docs/reports.md docs/explore.md     # rewrites the tables between their markers
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from hmdf.hw_targets.place.mapping import Mapping
from hmdf.hw_targets.schema import Cost

from .exploration import Exploration
from .run import Compiled, Simulated

DOCUMENTS = {kind.__name__: kind for kind in (Simulated, Compiled, Mapping, Exploration)}
_TABLE = re.compile(r"(<!-- keys (?P<kind>\w+)(?P<fields>[^>]*) -->\n).*?(<!-- end -->)", re.DOTALL)
_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", Cost: "range", dict: "object", Any: "any"}


def refresh(text: str) -> str:
    """A text with the table between each pair of markers made anew; `<!-- keys KIND FIELD ... -->` names its keys."""
    return _TABLE.sub(lambda m: f"{m[1]}{_table(DOCUMENTS[m['kind']], m['fields'].split())}{m[4]}", text)


def described(text: str) -> dict[str, set[str]]:
    """By document the keys of the first level that a text has a table of."""
    found: dict[str, set[str]] = {}
    for table in _TABLE.finditer(text):
        everything = [field.encode_name for field in msgspec.structs.fields(DOCUMENTS[table["kind"]])]
        found.setdefault(table["kind"], set()).update(table["fields"].split() or everything)
    return found


def _table(kind: type[msgspec.Struct], fields: list[str]) -> str:
    rows = [f"| `{key}` | {form} | {meaning} |" for key, form, meaning in _keys(kind, "", fields)]
    return "\n".join(["| key | type | meaning |", "|---|---|---|", *rows]) + "\n"


def _keys(kind: type[msgspec.Struct], path: str, only: list[str] | None = None) -> Iterator[tuple[str, str, str]]:
    """Key, type and meaning of every field; an object or a list has a row where there is something to say of it."""
    listed, hints = _listed(kind), get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        if only and field.encode_name not in only:
            continue
        form, inner, suffix = _form(hints[field.name])
        names, meaning = _meaning(hints[field.name], listed.get(field.name, ""))
        at = f"{path}{field.encode_name}{f'.{names}' if _is_table(hints[field.name]) else ''}"
        if "UnsetType" in str(hints[field.name]) or (kind.__struct_config__.omit_defaults and not field.required):
            form = f"{form.removesuffix(' or null') if field.default is None else form}, or left out"
        if inner is None or meaning:
            yield at, form, meaning
        if inner is not None:
            yield from _keys(inner, f"{at}{suffix}.")


def _meaning(hint: Any, listed: str) -> tuple[str, str]:
    """What stands for the names of a table, and what the text beside a type, or else the docstring, says of a field."""
    beside = next((text for text in getattr(hint, "__metadata__", ()) if isinstance(text, str)), listed)
    names, text = re.fullmatch(r"(?:([A-Z]{2,}): )?(.*)", beside, re.DOTALL).groups()  # type: ignore[union-attr]
    return names or "NAME", text


def _listed(kind: type[msgspec.Struct]) -> dict[str, str]:
    """What the docstring of a struct says of its fields."""
    found: dict[str, str] = {}
    listed = (kind.__doc__ or "").partition("Attributes:\n")[2]
    for names, text in re.findall(r"^ {8}([\w., ]+): (.*(?:\n {12,}.*)*)", listed, re.MULTILINE):
        meaning = re.sub(r"\bNone\b", "null", " ".join(text.split()))
        found |= dict.fromkeys(names.split(", "), meaning.rstrip(".").rstrip())
    return found


def _is_table(hint: Any) -> bool:
    """Whether the keys of a field are names that the data decides."""
    return get_origin(hint) is dict or any(
        _is_table(part) for part in get_args(hint)[: 1 + isinstance(hint, UnionType)]
    )


def _form(hint: Any) -> tuple[str, type[msgspec.Struct] | None, str]:
    """The type in words, the struct inside it with keys of its own, and what stands between the two keys."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _form(parts[0])
    if origin in (Union, UnionType):
        forms = [_form(part) for part in parts if part not in (NoneType, msgspec.UnsetType)]
        words = [*dict.fromkeys(word for word, _, _ in forms), *(["null"] if NoneType in parts else [])]
        return " or ".join(words), forms[0][1], forms[0][2]
    if origin is Literal:
        return "string", None, ""
    if origin in (list, tuple):
        word, inner, suffix = _form(parts[0])
        if inner is not None:
            return "list", inner, f"[]{suffix}"
        return f"list of {'lists' if word.startswith('list') else word + 's'}", None, ""
    if origin is dict:
        word, inner, suffix = _form(parts[1])
        return word, inner, suffix
    if hint is not Cost and isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "object", hint, ""
    return _NAMES[hint], None, ""


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(refresh(path.read_text(encoding="utf-8")), encoding="utf-8")
