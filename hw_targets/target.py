"""A chip as data: what it can do, what it limits, what an event costs, and where each number comes from.

A target is a TOML file (the shipped ones lie in `chips/`). Every number in it carries `source` (a key of the
file's `[sources]`) and `status`: published, derived (arithmetic on published numbers, shown in the note) or
estimate (nobody published it; it has a low and a high value, which the note argues). docs/targets.md explains the rest.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import msgspec

from hmdf.sim.contract import Dynamics
from hmdf.sim.errors import TargetError

from .schema import (
    CORES,
    PURPOSES,
    UNITS,
    Capabilities,
    ChipLimits,
    CoreMemory,
    Cost,
    Costs,
    Fact,
    Processor,
    Purpose,
    Status,
    Target,
)

_SHIPPED = Path(__file__).parent / "chips"
_TEXTS = ("name", "title", "summary", "about")
_SECTIONS = ("capabilities", "limits", "costs", "memory", "processor")
_KEYS = (*_TEXTS, "sources", *_SECTIONS)


def target_names() -> list[str]:
    """Names of the shipped targets, sorted."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def load_target(name_or_path: str | Path) -> Target:
    """The target of a shipped name ("loihi2") or of the path of a .toml file.

    Raises:
        TargetError: no such target (the nearest name is suggested), or mistakes in the file (all of them, each with
            its key and what was expected).
    """
    text = str(name_or_path)
    if text in target_names():
        return _read(_SHIPPED / f"{text}.toml")
    if text.endswith(".toml") or "/" in text:
        return _read(Path(text))
    near = difflib.get_close_matches(text.lower(), target_names(), n=1, cutoff=0.4)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise TargetError(
        f"no target is named '{text}'.{hint} Shipped targets: {', '.join(target_names())}. "
        "Your own chip: the path of its .toml file."
    )


def parse_target(text: str, where: str) -> Target:
    """A target from the text of a TOML file; `where` names the file in messages.

    Raises:
        TargetError: as `load_target`.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"{where}: not valid TOML: {error}") from None
    reader = _Reader(raw)
    target = reader.target()
    if reader.mistakes or target is None:
        raise TargetError("\n  ".join([f"{where}: {len(reader.mistakes)} mistake(s)", *reader.mistakes]))
    return target


def _read(path: Path) -> Target:
    try:
        return parse_target(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise TargetError(f"cannot read target '{path}': {reason}") from None


# ----------------------------------------------------------------------------- reading


class _Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    status: Status
    note: str = ""


class _Derivation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cost between that of another target (high) and a part of it (low)."""

    target: str
    divided_by: float

    def argument(self, cost: Cost, note: str) -> str:
        typical = "low" if cost.typical == cost.low else "geometric mean"
        low = f"{self.target} / {self.divided_by:g}"
        return f"not published. High: {self.target}. Low: {low} ({note}). Typical: {typical}"


class _Reader:
    """Turns the raw TOML into a Target, collecting every mistake with its key."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.mistakes: list[str] = []
        self.facts: list[Fact] = []
        self.sources: dict[str, str] = {}

    def target(self) -> Target | None:
        for key in self.raw:
            if key not in _KEYS:
                self._wrong(key, "unknown key" + _nearest(key, list(_KEYS)))
        texts = {key: self._convert(key, ({"about": ""} | self.raw).get(key), str, "") for key in _TEXTS}
        if texts["name"] and not re.fullmatch(r"[a-z0-9_-]+", texts["name"]):
            self._wrong("name", f"must be lower-case letters, digits, '_' and '-' (got '{texts['name']}')")
        self.sources = self._convert("sources", self.raw.get("sources"), dict[str, str], {})
        values = {
            "capabilities": self._plain("capabilities", Capabilities),
            "limits": self._plain("limits", ChipLimits),
            "costs": self._costs(),
            "processor": self._plain("processor", Processor) if "processor" in self.raw else {},
        }
        memories = self._memories()
        if self.mistakes:
            return None
        target = Target(
            **texts,
            sources=self.sources,
            capabilities=Capabilities(**values["capabilities"]),
            limits=ChipLimits(**values["limits"]),
            costs=Costs(**values["costs"]),
            memories=memories,
            facts=tuple(self.facts),
            processor=Processor(**values["processor"]) if values["processor"] else None,
        )
        self.mistakes.extend(_contradictions(target))
        return target

    def _plain(self, section: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
        """A section whose entries are {value, source, status, note}."""
        hints = get_type_hints(kind)
        values: dict[str, Any] = {}
        for key, entry in self._entries(section, list(hints)):
            if "value" not in entry:
                self._wrong(key, f"'value' is missing, expected {_type_name(hints[key.split('.')[1]])}")
                continue
            hint = hints[key.split(".")[1]]
            value, *bounds = (
                self._convert(f"{key}.{part}", entry.pop(part), hint, None)
                for part in ("value", "low", "high")
                if part in entry
            )
            if entry.get("status") == "estimate":
                self._bounded(key, value, bounds)
            self._origin(key, value, entry.pop("unit", ""), entry, bounds)
            values[key.split(".")[1]] = value
        for field in kind.__struct_fields__[: len(kind.__struct_fields__) - len(kind.__struct_defaults__)]:
            if field not in self.raw.get(section, {}):
                self._wrong(f"{section}.{field}", f"is missing, expected {_type_name(hints[field])}")
        return values

    def _bounded(self, key: str, value: Any, bounds: list[Any]) -> None:
        """An estimate says what else the value may be; numbers lie in between."""
        if len(bounds) < 2 or bounds[0] == bounds[1]:
            self._wrong(key, "an estimate needs low and high")
        elif isinstance(value, int) and None not in bounds and not bounds[0] <= value <= bounds[1]:
            self._wrong(key, f"needs low <= value <= high (got {bounds[0]}, {value}, {bounds[1]})")

    def _costs(self) -> dict[str, Cost]:
        costs: dict[str, Cost] = {}
        for key, entry in self._entries("costs", list(UNITS)):
            name = key.split(".")[1]
            numbers = {k: entry.pop(k) for k in ("low", "typical", "high") if k in entry}
            cost = self._convert(key, numbers, Cost, None)
            unit = entry.pop("unit", None)
            if unit != UNITS[name]:
                self._wrong(f"{key}.unit", f"expected '{UNITS[name]}' (got {unit!r})")
            if cost is None:
                continue
            if entry.get("status") == "estimate" and not cost.low < cost.high:
                self._wrong(key, "an estimate needs low < high")
            if "derive" in entry:
                derivation = self._convert(f"{key}.derive", entry.pop("derive"), _Derivation, None)
                if derivation is not None:
                    entry["note"] = derivation.argument(cost, entry.get("note", ""))
            self._origin(key, numbers, UNITS[name], entry)
            costs[name] = cost
        return costs

    def _memories(self) -> tuple[CoreMemory, ...]:
        memories = []
        for key, entry in self._entries("memory", None):
            size = entry.pop("bytes", None)
            fields = {
                "name": key.split(".")[1],
                "bytes": [size] if isinstance(size, int) else size,
                "holds": entry.pop("holds", None),
            }
            memory = self._convert(key, fields, CoreMemory, None)
            if memory is None:
                continue
            if min(memory.bytes, default=0) < 1:
                self._wrong(f"{key}.bytes", "expected a positive number of bytes, or one for each core")
            self._origin(key, size, "byte", entry)
            memories.append(memory)
        return tuple(memories)

    def _entries(self, section: str, known: list[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
        table = self.raw.get(section, {})
        if not isinstance(table, dict):
            self._wrong(section, f"expected a table (got {table!r})")
            return
        for name, entry in table.items():
            if known is not None and name not in known:
                self._wrong(f"{section}.{name}", "unknown key" + _nearest(name, known))
            elif not isinstance(entry, dict):
                self._wrong(f"{section}.{name}", f"expected a table with its value, source and status (got {entry!r})")
            else:
                yield f"{section}.{name}", dict(entry)

    def _origin(self, key: str, value: Any, unit: str, rest: dict[str, Any], bounds: Sequence[Any] = ()) -> None:
        missing = [field for field in ("source", "status") if field not in rest]
        for field in missing:
            expected = "a key of [sources]" if field == "source" else "published, derived or estimate"
            self._wrong(f"{key}.{field}", f"is missing, expected {expected}")
        if missing:
            return
        origin = self._convert(key, rest, _Origin, None)
        if origin is None:
            return
        if origin.source not in self.sources:
            self._wrong(f"{key}.source", f"'{origin.source}' is not a key of [sources]")
        if origin.status != "published" and not origin.note:
            self._wrong(f"{key}.note", f"is missing: a value that is {origin.status} needs the argument for it")
        self.facts.append(Fact(key, value, unit, origin.source, origin.status, origin.note, *bounds))

    def _convert(self, key: str, value: Any, kind: Any, default: Any) -> Any:
        if value is None:
            self._wrong(key, f"is missing, expected {_type_name(kind)}")
            return default
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            what, _, at = str(error).partition(" - at `$")
            inside = at.rstrip("`").lstrip(".")
            where = f"{key}{inside}" if inside.startswith("[") else f"{key}.{inside}" if inside else key
            self._wrong(where, _expectation(what, value, kind, inside))
            return default

    def _wrong(self, key: str, what: str) -> None:
        self.mistakes.append(f"{key}: {what}")


def _contradictions(target: Target) -> Iterator[str]:
    c, limits = target.capabilities, target.limits
    for key, (low, high) in {"state_bits": (8, 64), "accumulator_bits": (8, 64), "message_bits": (1, 64)}.items():
        if not low <= getattr(c, key) <= high:
            yield f"capabilities.{key}.value: expected {low}..{high} (got {getattr(c, key)})"
    if not c.weight_bits or list(c.weight_bits) != sorted(set(c.weight_bits)) or not c.weight_bits[0] >= 1:
        yield f"capabilities.weight_bits.value: expected ascending positive widths (got {list(c.weight_bits)})"
    kinds = [dynamics.kind() for dynamics in get_args(Dynamics)]
    for index, name in enumerate(c.dynamics):
        if name not in kinds:
            yield f"capabilities.dynamics.value[{index}]: expected one of {', '.join(kinds)} (got '{name}')"
    if c.axon_copies and (len(c.axon_copies) != len(c.weight_bits) or min(c.axon_copies) < 1):
        yield "capabilities.axon_copies.value: expected one positive number per entry of weight_bits"
    if c.signed_messages and c.message_bits < 2:
        yield "capabilities.signed_messages.value: a binary message has no sign, expected false"
    for field in limits.__struct_fields__:
        value = getattr(limits, field)
        if value is not None and min(value if isinstance(value, tuple) else (value,)) < 1:
            yield f"limits.{field}.value: expected a positive number (got {value})"
    if limits.mesh is not None and limits.cores is not None:
        places = prod(limits.mesh) * (limits.cores_per_tile or 1)
        if places < limits.cores:
            yield f"limits.mesh.value: {places} places on the mesh for {limits.cores} cores"
    if (processor := target.processor) is not None:
        if processor.core not in CORES:
            yield f"processor.core.value: expected one of {', '.join(CORES)} (got '{processor.core}')"
        for field in ("flash_bytes", "ram_bytes"):
            if getattr(processor, field) < 1:
                yield f"processor.{field}.value: expected a positive number (got {getattr(processor, field)})"
    for memory in target.memories:
        if len(memory.bytes) > 1 and len(memory.bytes) != limits.cores:
            yield f"memory.{memory.name}.bytes: expected one number, or {limits.cores} (got {len(memory.bytes)})"
    held = [purpose for memory in target.memories for purpose in memory.holds]
    for purpose in sorted({p for p in held if held.count(p) > 1}):
        yield f"memory: '{purpose}' is held by two memories"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean '{near[0]}'?" if near else f", expected one of {', '.join(known)}"


def _expectation(what: str, value: Any, kind: Any, inside: str) -> str:
    """What was expected, from msgspec's complaint about `value`, or about its part `inside`."""
    field = inside.partition("[")[0]
    if field:
        hints = get_type_hints(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else {}
        kind, value = hints.get(field), value.get(field)
    if kind is None or not what.startswith(("Expected", "Invalid")):
        return what.replace("`", "'").replace("Object missing required field", "lacks")
    return f"expected {_type_name(kind)} (got {'nothing' if value is None else repr(value)})"


_TYPE_NAMES = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    tuple[int, ...]: "a list of integers",
    tuple[int, int]: "a list of two integers",
    tuple[str, ...]: "a list of texts",
    dict[str, str]: "a table of texts",
    Status: f"one of {', '.join(get_args(Status))}",
    tuple[Purpose, ...]: f"a list of {', '.join(PURPOSES)}",
}


def _type_name(kind: Any) -> str:
    plain = [part for part in get_args(kind) if part is not type(None)] if isinstance(kind, UnionType) else [kind]
    return _TYPE_NAMES.get(plain[0], str(plain[0]))
