"""A chip as data: what it can do, what it limits, what an event costs, and where each number comes from.

A target is a TOML file (the shipped ones lie beside this module). Every number in it carries `source` (a key of the
file's `[sources]`) and `status`: published, derived (arithmetic on published numbers, shown in the note) or
estimate (nobody published it; the note argues a low and a high value). docs/targets.md explains them all.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from math import isfinite, prod
from pathlib import Path
from typing import Any, Literal, get_type_hints

import msgspec

from hmdf.sim.errors import TargetError

Status = Literal["published", "derived", "estimate"]
Purpose = Literal["weights", "state", "accumulators", "parameters", "axons", "buffers"]
DynamicsName = Literal[
    "relay", "hybrid_firing", "parallel_firing", "leaky_integrate_and_fire", "multi_hierarchical", "lookup_table"
]
PURPOSES: tuple[Purpose, ...] = ("weights", "state", "accumulators", "parameters", "axons", "buffers")
"""What the memory of a core is used for; see `footprint`."""

_SHIPPED = Path(__file__).parent
_SECTIONS = ("capabilities", "limits", "costs", "memory")


class Capabilities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the chip's neurons, synapses and messages can do.

    Fields:
        state_bits, accumulator_bits: width of a membrane and of a synaptic accumulator, signed.
        message_bits: most bits of a message between cores; 1 = binary spikes only.
        signed_messages: whether a message may be negative.
        weight_bits: widths a weight can be stored in, ascending; 2 is ternary (-1, 0, +1). A weight is stored in the
            narrowest width that holds it.
        axon_copies: input axons that one source neuron takes, one number per entry of `weight_bits`
            (TrueNorth: a weight is a choice among axon types).
        shared_kernels: whether a convolution's kernel is stored once per core, or once per connection.
        multiplier: whether a neuron multiplies what it takes in by a 16-bit number before it shifts.
        leak: whether the membrane can be multiplied by a fraction at each step.
        per_step_parameters: whether parameters may change from time-step to time-step within a sample.
        gates: whether one message can scale the current of a channel.
        sum_pool, max_pool: pools over messages.
        dynamics: the neurons of docs/numerics.md that it can compute.
        input_message_bits, input_weight_bits: of the first layer's input and weights, where they differ.
        input_axon_bits, output_axon_bits: memory that one entry of a core's routing tables takes.
        divisible_layers: whether one population may lie on several cores.
        shared_cores: whether one core may hold several populations.
    """

    state_bits: int
    accumulator_bits: int
    message_bits: int
    signed_messages: bool
    weight_bits: tuple[int, ...]
    shared_kernels: bool
    multiplier: bool
    leak: bool
    per_step_parameters: bool
    gates: bool
    sum_pool: bool
    max_pool: bool
    dynamics: tuple[DynamicsName, ...]
    divisible_layers: bool
    shared_cores: bool
    axon_copies: tuple[int, ...] = ()
    input_message_bits: int | None = None
    input_weight_bits: tuple[int, ...] | None = None
    input_axon_bits: int = 0
    output_axon_bits: int = 0

    def stored_weight_bits(self, weight_bits: int) -> int | None:
        """The narrowest storable width that holds weights of `weight_bits` bits, None when there is none."""
        # A 1-bit weight {-1, +1} is also a ternary one; each wider format holds every narrower one.
        return next((bits for bits in self.weight_bits if bits >= weight_bits), None)

    def axons_per_neuron(self, weight_bits: int) -> int:
        """Input axons that one source neuron takes on a core that stores `weight_bits`-bit weights for it."""
        stored = self.stored_weight_bits(weight_bits)
        if not self.axon_copies or stored is None:
            return 1
        return self.axon_copies[self.weight_bits.index(stored)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one chip; None = no limit is known.

    Fields:
        cores: cores of one chip.
        neurons_per_core: neurons (each with one message per step) of one core.
        input_axons_per_core: different source neurons that one core can listen to.
        output_axons_per_core: (neuron, destination core) pairs that one core can send to.
        fan_in_per_neuron: synapses that end in one neuron.
        mesh: tiles in x and y, message routes run along the mesh.
        cores_per_tile: cores that share one router.
        chips: chips that can be joined.
    """

    cores: int | None = None
    neurons_per_core: int | None = None
    input_axons_per_core: int | None = None
    output_axons_per_core: int | None = None
    fan_in_per_neuron: int | None = None
    mesh: tuple[int, int] | None = None
    cores_per_tile: int | None = None
    chips: int | None = None


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one event costs: low <= typical <= high, equal when the number is published as one."""

    low: float
    typical: float
    high: float

    def __post_init__(self) -> None:
        if not (all(isfinite(v) for v in (self.low, self.typical, self.high)) and self.low >= 0):
            raise ValueError("low, typical and high must be finite and not negative")
        if not self.low <= self.typical <= self.high:
            raise ValueError(f"needs low <= typical <= high (got {self.low}, {self.typical}, {self.high})")


UNITS = {
    "synaptic_op_energy": "pJ",
    "mac_energy": "pJ",
    "port_energy": "pJ",
    "neuron_active_energy": "pJ",
    "neuron_inactive_energy": "pJ",
    "message_energy": "pJ",
    "hop_x_energy": "pJ",
    "hop_y_energy": "pJ",
    "static_power": "mW",
    "four_bit_synaptic_op_energy": "pJ",
    "int8_mac_energy": "pJ",
    "fp32_mac_energy": "pJ",
    "synaptic_op_time": "ns",
    "mac_time": "ns",
    "port_time": "ns",
    "neuron_active_time": "ns",
    "neuron_inactive_time": "ns",
    "message_time": "ns",
    "hop_time": "ns",
    "barrier_time": "ns",
    "step_time": "ns",
}
"""The unit each cost is given in."""


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What events cost; None = not known, and then no total is claimed that would need it.

    Fields, in pJ unless said otherwise:
        synaptic_op_energy: one non-zero spike meeting one non-zero weight.
        mac_energy: one weight times one message of a dense current (stem input, residual stream).
        port_energy: one message that a population takes in directly, without weights.
        neuron_active_energy, neuron_inactive_energy: one neuron update that sends a message / that sends none.
        message_energy: one message leaving its neuron, to its own core or tile.
        hop_x_energy, hop_y_energy: one message over one mesh link.
        static_power: mW of one chip, whatever it does.
        four_bit_synaptic_op_energy: of 4-bit spikes in HD-LIF's convention; for its row in the table only.
        int8_mac_energy, fp32_mac_energy: of the same network as an ANN; for the comparison only.
        *_time: ns of the same events on one core; barrier_time: the end of a time-step; step_time: the shortest step.
    """

    synaptic_op_energy: Cost | None = None
    mac_energy: Cost | None = None
    port_energy: Cost | None = None
    neuron_active_energy: Cost | None = None
    neuron_inactive_energy: Cost | None = None
    message_energy: Cost | None = None
    hop_x_energy: Cost | None = None
    hop_y_energy: Cost | None = None
    static_power: Cost | None = None
    four_bit_synaptic_op_energy: Cost | None = None
    int8_mac_energy: Cost | None = None
    fp32_mac_energy: Cost | None = None
    synaptic_op_time: Cost | None = None
    mac_time: Cost | None = None
    port_time: Cost | None = None
    neuron_active_time: Cost | None = None
    neuron_inactive_time: Cost | None = None
    message_time: Cost | None = None
    hop_time: Cost | None = None
    barrier_time: Cost | None = None
    step_time: Cost | None = None


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One memory of a core: `bytes` per core (one number, or one per core where cores differ), shared by `holds`."""

    name: str
    bytes: tuple[int, ...]
    holds: tuple[Purpose, ...]

    def of_core(self, core: int) -> int:
        """Bytes that core number `core` of a chip has."""
        return self.bytes[core % len(self.bytes)]


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number of a target with its origin; `key` is its path in the file, `value` as in the file."""

    key: str
    value: Any
    unit: str
    source: str
    status: Status
    note: str


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chip. `facts` repeats every number with its source and status, in the order of the file."""

    name: str
    title: str
    summary: str
    sources: dict[str, str]
    capabilities: Capabilities
    limits: Limits
    costs: Costs
    memories: tuple[Memory, ...]
    facts: tuple[Fact, ...]

    @property
    def memory_per_core(self) -> int | None:
        """Bytes of all memories of the largest core; None = no limit."""
        if not self.memories:
            return None
        cores = max(len(m.bytes) for m in self.memories)
        return max(sum(m.of_core(core) for m in self.memories) for core in range(cores))

    def fact(self, key: str) -> Fact:
        """The fact of a key such as "costs.synaptic_op_energy"."""
        return next(fact for fact in self.facts if fact.key == key)


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


class _Reader:
    """Turns the raw TOML into a Target, collecting every mistake with its key."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.mistakes: list[str] = []
        self.facts: list[Fact] = []
        self.sources: dict[str, str] = {}

    def target(self) -> Target | None:
        for key in self.raw:
            if key not in ("name", "title", "summary", "sources", *_SECTIONS):
                self._wrong(key, "unknown key" + _nearest(key, ["name", "title", "summary", "sources", *_SECTIONS]))
        texts = {key: self._convert(key, self.raw.get(key), str, "") for key in ("name", "title", "summary")}
        if texts["name"] and not re.fullmatch(r"[a-z0-9_]+", texts["name"]):
            self._wrong("name", f"must be lower-case letters, digits and '_' (got '{texts['name']}')")
        self.sources = self._convert("sources", self.raw.get("sources"), dict[str, str], {})
        values = {
            "capabilities": self._plain("capabilities", Capabilities),
            "limits": self._plain("limits", Limits),
            "costs": self._costs(),
        }
        memories = self._memories()
        if self.mistakes:
            return None
        target = Target(
            name=texts["name"],
            title=texts["title"],
            summary=texts["summary"],
            sources=self.sources,
            capabilities=Capabilities(**values["capabilities"]),
            limits=Limits(**values["limits"]),
            costs=Costs(**values["costs"]),
            memories=memories,
            facts=tuple(self.facts),
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
            value = self._convert(f"{key}.value", entry.pop("value"), hints[key.split(".")[1]], None)
            self._origin(key, value, entry.pop("unit", ""), entry)
            values[key.split(".")[1]] = value
        for field in kind.__struct_fields__[: len(kind.__struct_fields__) - len(kind.__struct_defaults__)]:
            if field not in self.raw.get(section, {}):
                self._wrong(f"{section}.{field}", f"is missing, expected {_type_name(hints[field])}")
        return values

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
            self._origin(key, numbers, UNITS[name], entry)
            costs[name] = cost
        return costs

    def _memories(self) -> tuple[Memory, ...]:
        memories = []
        for key, entry in self._entries("memory", None):
            size = entry.pop("bytes", None)
            fields = {
                "name": key.split(".")[1],
                "bytes": [size] if isinstance(size, int) else size,
                "holds": entry.pop("holds", None),
            }
            memory = self._convert(key, fields, Memory, None)
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

    def _origin(self, key: str, value: Any, unit: str, rest: dict[str, Any]) -> None:
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
        self.facts.append(Fact(key, value, unit, origin.source, origin.status, origin.note))

    def _convert(self, key: str, value: Any, kind: Any, default: Any) -> Any:
        if value is None:
            self._wrong(key, f"is missing, expected {_type_name(kind)}")
            return default
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            text = str(error)
            at = re.search(r" - at `\$\.?([^`]*)`$", text)
            self._wrong(
                f"{key}.{at[1]}" if at and at[1] else key, re.sub(r" - at `[^`]*`$", "", text).replace("`", "'")
            )
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
    for memory in target.memories:
        if len(memory.bytes) > 1 and len(memory.bytes) != limits.cores:
            yield f"memory.{memory.name}.bytes: expected one number, or {limits.cores} (got {len(memory.bytes)})"
    held = [purpose for memory in target.memories for purpose in memory.holds]
    for purpose in sorted({p for p in held if held.count(p) > 1}):
        yield f"memory: '{purpose}' is held by two memories"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean '{near[0]}'?" if near else f", expected one of {', '.join(known)}"


def _type_name(kind: Any) -> str:
    if kind in (int, float, bool, str):
        return {int: "an integer", float: "a number", bool: "true or false", str: "text"}[kind]
    return str(kind).replace("typing.", "").replace(" | None", "")
