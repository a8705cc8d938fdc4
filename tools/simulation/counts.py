"""What a simulation counted and what that costs, as a document (docs/reports.md)."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import msgspec

from hmdf.hw_targets.events import EventCounts
from hmdf.hw_targets.on_targets import OnTarget
from hmdf.hw_targets.price.conventions import conventions, has_4_bit_spikes, macs_beyond
from hmdf.hw_targets.price.cost import estimate, spread_of
from hmdf.hw_targets.price.references import ann, neurobench
from hmdf.hw_targets.target import load_target
from hmdf.sim.contract import INPUT, Population, Synapse, WeightedOp
from hmdf.sim.counters import Counters
from hmdf.sim.memory import memory_of
from hmdf.sim.program import Program
from hmdf.sim.ranges import Ranges, prove

from ..documents import run

REFERENCE = "cmos45"
"""The target whose constants the literature uses, for ANNs too."""
VERSIONED = "hmdf", "numpy", "numba"

Document = TypeVar("Document", run.Compiled, run.Simulated)


def counted(
    kind: type[Document],
    program: Program,
    counters: Counters,
    seconds: float,
    events: EventCounts,
    targets: Iterable[OnTarget],
) -> Document:
    """The document of a run, with everything that follows from its counters.

    Args:
        seconds: that the simulation took.
        events: of the same counters.
        targets: the program on each of them, from those events.
    """
    memory, sops, proof = memory_of(program), counters.sops_per_sample(), prove(program)
    return kind(
        samples=counters.samples,
        time_steps=program.time_steps,
        sops=run.Sops(
            per_sample=float(sops.mean()),
            std=float(sops.std()),
            smallest=int(sops.min()),
            largest=int(sops.max()),
            conventional_per_sample=sum(s.conventional_sops for s in counters.synapses.values()),
        ),
        macs=run.Macs(counters.macs_per_sample()),
        memory=msgspec.convert(memory, run.MemoryUse, from_attributes=True),
        input=run.InputMessages(*_sent(counters, INPUT)),
        layers=[_layer(program, counters, proof, node) for node in program.nodes],
        program=_origin(program),
        timing=run.Elapsed(seconds),
        run=_invocation(),
        targets=[target_row(target) for target in targets],
        literature=literature(program, events),
        ann=ann_row(program),
        neurobench=neurobench(program, events),
    )


def _sent(counters: Counters, name: str) -> tuple[float, float]:
    """Density and number per sample of the non-zero messages of a population or the input."""
    fired = counters.populations[name]
    return fired.density(), float(fired.spikes_per_sample.mean())


def _layer(program: Program, counters: Counters, proof: Ranges, node: Synapse | Population) -> run.LayerRow:
    shape = list(program.shapes[node.name])
    if isinstance(node, Synapse):
        counts = counters.synapses[node.name]
        return run.LayerRow(
            name=node.name,
            shape=shape,
            kind=str(node.op.__struct_config__.tag),
            bits=node.op.weight_bits if isinstance(node.op, WeightedOp) else 0,
            sops_per_sample=float(counts.sops_per_sample.mean()),
            macs_per_sample=counts.macs,
            conventional_sops_per_sample=counts.conventional_sops,
            spike_density=counters.populations[node.source].density(),
            saturations=None,
            weight_bytes=counts.weight_bytes,
            register_bits=proof.synapses[node.name].bits,
            register_limit=program.accumulator_bits,
        )
    fired, bounds = counters.populations[node.name], proof.populations[node.name]
    density, spikes = _sent(counters, node.name)
    state, message = int(fired.state_saturations.sum()), int(fired.message_saturations.sum())
    return run.LayerRow(
        name=node.name,
        shape=shape,
        kind=str(node.dynamics.__struct_config__.tag),
        bits=node.message.bits,
        signed=node.message.signed,
        sops_per_sample=None,
        macs_per_sample=None,
        spike_density=density,
        spikes_per_sample=spikes,
        saturations=state + message,
        state_saturations=state,
        message_saturations=message,
        state_can_saturate=bounds.state_clamps,
        message_can_saturate=bounds.message_clamps,
        weight_bytes=None,
        register_bits=(bounds.membrane or bounds.current).bits,
        register_limit=program.state_bits,
    )


def _origin(program: Program) -> run.ProgramOrigin:
    about = program.metadata
    return run.ProgramOrigin(
        sha256=program.sha256,
        network=about.network,
        target=about.target,
        tool_version=about.tool_version,
        source_sha256=about.source_sha256,
        calibration_data=about.calibration_data,
        calibration_samples=about.calibration_samples,
        state_bits=program.state_bits,
        accumulator_bits=program.accumulator_bits,
    )


def _invocation() -> run.Invocation:
    command = [f"hmdf-{Path(sys.argv[0]).stem.removeprefix('hmdf-')}", *sys.argv[1:]]
    return run.Invocation(
        command=shlex.join(command),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version()} | {name: version(name) for name in VERSIONED},
        machine=f"{platform.system()} {platform.machine()}",
    )


# -------------------------------------------------------------------------------- costs


def target_row(on: OnTarget) -> run.TargetRow:
    """A program on a target, with what it costs where it can be mapped."""
    row = run.TargetRow(
        target=on.target,
        title=on.title,
        fits=on.fits,
        findings=on.findings,
        cores=None,
        chips=None,
        energy_pj=None,
        energy_status=None,
        energy_missing=[],
        latency_ns=None,
        memory_bytes=None,
        footprint=on.footprint,
    )
    if on.estimate is None or on.mapping is None:
        return row
    cost, bound, timing = on.estimate, on.mapping.lower_bound, on.estimate.timing
    held = on.footprint
    memory = cost.memory if held is None else {**held.flash_by_purpose, **held.ram_by_purpose}
    return msgspec.structs.replace(
        row,
        cores=cost.cores,
        chips=cost.chips,
        energy_pj=cost.energy.total,
        energy_status=cost.energy.status,
        energy_missing=list(cost.energy.missing),
        latency_ns=None if timing is None else timing.sample,
        memory_bytes=sum(memory.values()),
        core_lower_bound=bound.cores,
        core_bound_by=bound.resource,
        core_ratio=on.mapping.ratio,
        energy_by_layer_pj=cost.energy.by_node,
        energy_by_constant_pj=cost.energy.by_constant,
        energy_spread_pj=cost.energy.spread,
        latency_spread_ns=None if timing is None else spread_of(timing.by_sample),
        step_ns=None if timing is None else timing.step,
        memory_by_purpose=memory,
        compressed_weight_bytes=cost.compressed_weights,
        constants=cost.constants,
    )


def literature(program: Program, events: EventCounts) -> run.Literature:
    """The energies that papers print."""
    reference = load_target(REFERENCE)
    counts = conventions(program, events, reference)
    return run.Literature(
        energy_pj=estimate(program, reference, events).energy.total,
        hd_lif_energy_pj=counts["hm_df"].energy_pj if has_4_bit_spikes(program) else None,
        beyond_pj=macs_beyond(program, events, reference),
        conventions=list(counts.values()),
    )


def ann_row(program: Program) -> run.AnnRow:
    """The same network as an ANN."""
    dense = ann(program, load_target(REFERENCE))
    return run.AnnRow(dense.macs, int8_energy_pj=dense.int8, fp32_energy_pj=dense.fp32)
