"""Everything that a report says, as one document: what was measured, and what follows from it on each target.

The HTML and Markdown forms show numbers of this document only; `--format json` is the document itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from hmdf.hw_targets.events import EventCounts
from hmdf.hw_targets.on_targets import OnTarget, on_targets
from hmdf.hw_targets.place.layers import READOUT
from hmdf.hw_targets.place.placement import mesh_of
from hmdf.hw_targets.schema import PURPOSES, Target
from hmdf.hw_targets.target import load_target
from hmdf.sim.contract import INPUT, Population, Synapse
from hmdf.sim.program import Program
from hmdf.tools.cost_tables import REFERENCE, on_targets_document
from hmdf.tools.documents.measured import Compiled, Measured

REFERENCE_COSTS = (
    "synaptic_op_energy",
    "mac_energy",
    "four_bit_synaptic_op_energy",
    "int8_mac_energy",
    "fp32_mac_energy",
)
"""Constants of the literature that a network is compared with others by."""
COPIED = "samples", "time_steps", "accuracy", "sops", "macs", "memory", "input", "verify", "fidelity", "timing"
"""Keys of out.json that the report repeats as they are."""


def gather(
    program: Program,
    measured: Measured,
    targets: list[Target],
    chips: int,
    files: list[Path],
    compiled: Compiled | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """The document.

    Args:
        targets: the first is the one that the report is about, the others are compared with it.
        chips: of each target that may be used.
        files: what the report was made from, for their hashes.
        compiled: what the compiler said, if its report.json is at hand.
        advance: called with 1 after each target.
    """
    activity = measured.activity(program)
    verdicts = []
    for target in targets:
        verdicts += on_targets(program, [target], activity, chips)
        advance(1)
    plain: dict[str, Any] = msgspec.to_builtins(measured)
    costs = on_targets_document(program, activity, verdicts)
    spreads = {row["target"]: row for row in plain["targets"]}
    for row, target in zip(costs["targets"], targets, strict=True):
        for key in ("energy_spread_pj", "latency_spread_ns"):
            row[key] = spreads.get(row["target"], {}).get(key)
        row["sources"] = target.sources
    origin = f"measured on {measured.samples:,} samples"
    return {
        "title": f"{program.metadata.network or 'network'} on {targets[0].title}",
        **{key: plain[key] for key in COPIED},
        "program": _program(program),
        "layers": _layers(program, plain, verdicts[0], costs["targets"][0]),
        "ends": _ends(verdicts[0], costs["targets"][0]),
        "edges": _edges(program, activity),
        "target": _target(targets[0], verdicts[0], chips, origin),
        **costs,
        "ann_constants": _ann_constants(),
        "baseline": plain["baseline"],
        "sample": plain["sample"],
        "notes": compiled.notes if compiled is not None else [],
        "provenance": _provenance(program, measured, compiled, files),
    }


def _program(program: Program) -> dict[str, Any]:
    about = program.metadata
    return {
        "sha256": program.sha256,
        "network": about.network,
        "data_set": about.data_set,
        "class_names": list(about.class_names),
        "compiled_for": about.target,
        "state_bits": program.state_bits,
        "accumulator_bits": program.accumulator_bits,
        "input_shape": list(program.input.shape),
        "input_bits": program.input.message.bits,
        "input_signed": program.input.message.signed,
        "neurons": sum(prod(p.shape) for p in program.populations),
        "weights": sum(s.weight.size for s in program.synapses if s.weight is not None),
    }


def _layers(
    program: Program, measured: dict[str, Any], verdict: OnTarget, costs: dict[str, Any]
) -> list[dict[str, Any]]:
    """The layers of out.json, each with what it costs on the target and the noise that it has."""
    energies = costs.get("energy_by_layer_pj", {})
    noise = {row["population"]: row for row in measured["fidelity"]}
    rows = []
    for layer in measured["layers"]:
        name = layer["name"]
        node = program.by_name[name]
        rows.append(
            layer
            | {
                "role": "synapse" if isinstance(node, Synapse) else "population",
                "weight_shape": list(node.weight.shape)
                if isinstance(node, Synapse) and node.weight is not None
                else None,
                "energy_pj": energies.get(name),
                **_held(verdict, name),
                "noise": noise.get(name),
            }
        )
    return rows


def _held(verdict: OnTarget, name: str) -> dict[str, Any]:
    """The cores that hold a layer of neurons, and the bytes it takes there by purpose; None for what is no layer."""
    slices = verdict.mapping.slices if verdict.mapping is not None else []
    held = [piece for piece in slices if piece.layer == name]
    return {
        "cores": sorted({piece.core for piece in held}),
        "core_bytes": {p: sum(piece.bytes[p] for piece in held) for p in PURPOSES} if held else None,
    }


def _ends(verdict: OnTarget, costs: dict[str, Any]) -> dict[str, Any]:
    """What the two ends of the network cost, which are no nodes of the program: the input and the read-out."""
    energies = costs.get("energy_by_layer_pj", {})
    return {name: {"energy_pj": energies.get(name), **_held(verdict, name)} for name in (INPUT, READOUT)}


def _edges(program: Program, activity: EventCounts) -> list[dict[str, Any]]:
    """Who reads whom, with the messages (or accumulators, from synapses: None) per sample."""
    edges = []
    for node in program.nodes:
        sources = (
            [(node.source, "messages")] if isinstance(node, Synapse) else [(p.source, "current") for p in node.ports]
        )
        if isinstance(node, Population) and node.gate is not None:
            sources.append((node.gate.source, "gate"))
        edges += [{"source": source, "reader": node.name, "role": role} for source, role in sources]
    edges.append({"source": program.readout.source, "reader": READOUT, "role": "current"})
    for edge in edges:
        sent = activity.messages.get(edge["source"])
        edge["messages_per_sample"] = None if sent is None else float(sent[0])
    return edges


def _target(target: Target, verdict: OnTarget, chips: int, origin: str) -> dict[str, Any]:
    """The target of the report: where every slice lies, every row of the energy, every constant."""
    result: dict[str, Any] = {
        "name": target.name,
        "title": target.title,
        "summary": target.summary,
        "chips_allowed": chips,
        "limits": msgspec.to_builtins(target.limits),
        "memory_per_core": target.memory_per_core,
        "facts": msgspec.to_builtins(target.facts),
        "mapping": None,
        "mesh": None,
        "energy_rows": [],
        "timing": None,
    }
    if verdict.mapping is None or verdict.estimate is None:
        return result
    mesh = mesh_of(target, verdict.mapping.cores)
    result["mapping"] = msgspec.to_builtins(verdict.mapping) | {"traffic": origin}
    result["mesh"] = {"x": mesh.x.tolist(), "y": mesh.y.tolist()}
    result["energy_rows"] = msgspec.to_builtins(verdict.estimate.energy.rows)
    timing = verdict.estimate.timing
    if timing is not None:
        costs = {"step": timing.step, "sample": timing.sample, "period": timing.period}
        result["timing"] = {key: msgspec.to_builtins(cost) for key, cost in costs.items()}
        result["timing"] |= {"depth": timing.depth, "slowest_core": timing.slowest_core, "bound": timing.bound}
    return result


def _ann_constants() -> list[dict[str, Any]]:
    """What the networks beside this one are costed with."""
    reference = load_target(REFERENCE)
    facts = [reference.fact(f"costs.{name}") for name in REFERENCE_COSTS]
    return [msgspec.to_builtins(fact) | {"source": reference.sources[fact.source]} for fact in facts]


def _provenance(program: Program, measured: Measured, compiled: Compiled | None, files: list[Path]) -> dict[str, Any]:
    about = program.metadata
    return {
        "program_sha256": program.sha256,
        "source_sha256": about.source_sha256,
        "compiler_version": about.tool_version,
        "calibration_data": about.calibration_data,
        "calibration_samples": about.calibration_samples,
        "measured": msgspec.to_builtins(measured.run),
        "compiled": None if compiled is None else msgspec.to_builtins(compiled.run),
        "files": [{"name": f.name, "sha256": hashlib.sha256(f.read_bytes()).hexdigest()} for f in files],
    }


def every_node(document: dict[str, Any]) -> list[str]:
    """Names in the order of the graph, from "input" to "readout"."""
    return [INPUT, *(layer["name"] for layer in document["layers"]), READOUT]
