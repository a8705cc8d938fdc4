"""The report's document: what was measured, and what follows from it on each target."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import prod
from pathlib import Path

import msgspec
import numpy as np

from hmdf.hw_targets.events import EventCounts
from hmdf.hw_targets.footprint import Measure
from hmdf.hw_targets.on_targets import OnTarget, on_targets
from hmdf.hw_targets.place.layers import READOUT
from hmdf.hw_targets.place.placement import mesh_of
from hmdf.hw_targets.price.references import neurobench
from hmdf.hw_targets.schema import PURPOSES, Cost, Fact, Target
from hmdf.hw_targets.target import load_target
from hmdf.sim.contract import INPUT, Synapse, WeightedOp
from hmdf.sim.program import Program

from ..documents import report
from ..documents.run import Compiled, Simulated, TargetRow
from ..simulation.counts import REFERENCE, ann_row, literature, target_row
from ..simulation.microcontrollers import microcontrollers

REFERENCE_COSTS = (
    "synaptic_op_energy",
    "mac_energy",
    "four_bit_synaptic_op_energy",
    "int8_mac_energy",
    "fp32_mac_energy",
)
"""Constants of the literature that a network is compared with others by."""


def assemble(
    program: Program,
    measured: Simulated,
    targets: list[Target],
    chips: int,
    files: list[Path],
    compiled: Compiled | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> report.Report:
    """The document.

    Args:
        targets: the first is the one that the report is about, the others are compared with it.
        chips: of each target that may be used.
        files: what the report was made from, for their hashes.
        compiled: what the compiler said, if its report.json is at hand.
        advance: called with 1 after each target.
    """
    # Fit and mapping are made again: out.json may be of other targets, files of them, or a number of chips.
    events = _mean_events(program, measured)
    spreads = {row.target: row for row in measured.targets}
    on: list[OnTarget] = []
    rows: list[report.ComparedTarget] = []
    for target in targets:
        known = spreads.get(target.name)
        (found,) = on_targets(program, [target], events, chips, _footprints(program, known))
        on.append(found)
        rows.append(_compared(target_row(found), known, target))
        advance(1)
    energies = rows[0].energy_by_layer_pj or {}
    return report.Report(
        title=f"{program.metadata.network or 'network'} on {targets[0].title}",
        samples=measured.samples,
        time_steps=measured.time_steps,
        accuracy=measured.accuracy,
        sops=measured.sops,
        macs=measured.macs,
        memory=measured.memory,
        input=measured.input,
        verify=measured.verify,
        fidelity=measured.fidelity,
        timing=measured.timing,
        program=_facts(program),
        layers=_layers(program, measured, on[0], energies),
        ends={name: _held(on[0], energies, name) for name in (INPUT, READOUT)},
        edges=_edges(program, events),
        targets=rows,
        target=_target(targets[0], on[0], chips, f"measured on {measured.samples:,} samples"),
        literature=literature(program, events),
        ann=ann_row(program),
        neurobench=neurobench(program, events),
        ann_constants=_ann_constants(),
        baseline=measured.baseline,
        sample=measured.sample,
        notes=compiled.notes if compiled is not None else [],
        provenance=_provenance(program, measured, compiled, files),
    )


def _mean_events(program: Program, measured: Simulated) -> EventCounts:
    """Mean events per sample; their energy is the mean energy, for it is linear in them."""
    layers = {layer.name: layer for layer in measured.layers}
    messages = {INPUT: measured.input.spikes_per_sample}
    messages |= {p.name: layers[p.name].spikes_per_sample or 0.0 for p in program.populations}
    return EventCounts(
        measured=True,
        messages={name: np.array([mean]) for name, mean in messages.items()},
        sops={s.name: np.array([layers[s.name].sops_per_sample or 0.0]) for s in program.synapses},
        macs={s.name: float(layers[s.name].macs_per_sample or 0) for s in program.synapses},
    )


def _footprints(program: Program, measured: TargetRow | None) -> Measure:
    """The footprint that the simulator's row has, with its instructions, or one that is measured now."""
    if measured is None or measured.footprint is None:
        return microcontrollers(program)
    known, found = measured.footprint, [f for f in measured.findings if f.resource in ("flash", "ram")]
    return lambda target: (known, found)


def _compared(row: TargetRow, measured: TargetRow | None, target: Target) -> report.ComparedTarget:
    """A row with the spreads over the samples, which only the simulator knew."""
    energy, latency = (None, None) if measured is None else (measured.energy_spread_pj, measured.latency_spread_ns)
    spreads = {"energy_spread_pj": energy or None, "latency_spread_ns": latency or None}
    return report.ComparedTarget(**(msgspec.structs.asdict(row) | spreads), sources=target.sources)


def _facts(program: Program) -> report.ProgramFacts:
    about = program.metadata
    return report.ProgramFacts(
        sha256=program.sha256,
        network=about.network,
        data_set=about.data_set,
        class_names=list(about.class_names),
        compiled_for=about.target,
        state_bits=program.state_bits,
        accumulator_bits=program.accumulator_bits,
        input_shape=list(program.input.shape),
        input_bits=program.input.message.bits,
        input_signed=program.input.message.signed,
        neurons=sum(prod(p.shape) for p in program.populations),
        weights=sum(s.op.weight.size for s in program.synapses if isinstance(s.op, WeightedOp)),
    )


def _layers(program: Program, measured: Simulated, on: OnTarget, energies: dict[str, Cost]) -> list[report.ReportLayer]:
    """The layers of out.json, each with what it costs on the target and the noise that it has."""
    noise = {row.population: row for row in measured.fidelity}
    rows = []
    for layer in measured.layers:
        node = program.by_name[layer.name]
        op = node.op if isinstance(node, Synapse) else None
        held = msgspec.structs.asdict(_held(on, energies, layer.name))
        rows.append(
            report.ReportLayer(
                **msgspec.structs.asdict(layer),
                **held,
                role="synapse" if isinstance(node, Synapse) else "population",
                weight_shape=list(op.weight.shape) if isinstance(op, WeightedOp) else None,
                noise=noise.get(layer.name),
            )
        )
    return rows


def _held(on: OnTarget, energies: dict[str, Cost], name: str) -> report.Held:
    """What a node or an end of the network costs, the cores that hold it, and the bytes it takes there."""
    slices = on.mapping.slices if on.mapping is not None and on.footprint is None else []
    held = [piece for piece in slices if piece.layer == name]  # a microcontroller's memory is not divided by layer
    return report.Held(
        energy_pj=energies.get(name),
        cores=sorted({piece.core for piece in held}),
        core_bytes={p: sum(piece.bytes[p] for piece in held) for p in PURPOSES} if held else None,
    )


def _edges(program: Program, events: EventCounts) -> list[report.ReadBy]:
    """Who reads whom, with the messages (or accumulators, from synapses: None) per sample."""
    edges: list[tuple[str, str, report.Role]] = []
    for node in program.nodes:
        if isinstance(node, Synapse):
            edges.append((node.source, node.name, "messages"))
            continue
        edges += [(port.source, node.name, "current") for port in node.ports]
        if node.gate is not None:
            edges.append((node.gate.source, node.name, "gate"))
    edges.append((program.readout.source, READOUT, "current"))
    means = {name: float(sent[0]) for name, sent in events.messages.items()}
    return [report.ReadBy(source, reader, role, means.get(source)) for source, reader, role in edges]


def _target(target: Target, on: OnTarget, chips: int, origin: str) -> report.ReportTarget:
    """The target of the report; `origin` says where the message counts come from."""
    result = report.ReportTarget(
        name=target.name,
        title=target.title,
        summary=target.summary,
        chips_allowed=chips,
        limits=target.limits,
        memory_per_core=target.memory_per_core,
        facts=target.facts,
    )
    if on.mapping is None or on.estimate is None:
        return result
    mesh = mesh_of(target, on.mapping.cores)
    result.mapping = msgspec.structs.replace(on.mapping, traffic=origin)
    result.mesh = report.CoreGrid(mesh.x.tolist(), mesh.y.tolist())
    result.energy_rows = on.estimate.energy.rows
    if on.estimate.timing is not None:
        result.timing = msgspec.convert(on.estimate.timing, report.Pace, from_attributes=True)
    return result


def _ann_constants() -> list[Fact]:
    """What the networks beside this one are costed with."""
    reference = load_target(REFERENCE)
    facts = [reference.fact(f"costs.{name}") for name in REFERENCE_COSTS]
    return [msgspec.structs.replace(fact, source=reference.sources[fact.source]) for fact in facts]


def _provenance(
    program: Program, measured: Simulated, compiled: Compiled | None, files: list[Path]
) -> report.Provenance:
    about = program.metadata
    return report.Provenance(
        program_sha256=program.sha256,
        source_sha256=about.source_sha256,
        compiler_version=about.tool_version,
        calibration_data=about.calibration_data,
        calibration_samples=about.calibration_samples,
        measured=measured.run,
        compiled=None if compiled is None else compiled.run,
        files=[report.UsedFile(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files],
    )
