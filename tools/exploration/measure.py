"""One setting: compiled, simulated, and costed on each target."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.export.compiler import registers_of
from hmdf.export.config import Config
from hmdf.export.errors import CompileError
from hmdf.export.integers import Registers
from hmdf.export.passes.quantize import quantize
from hmdf.export.passes.serialize import serialize
from hmdf.hw_targets.events import measured
from hmdf.hw_targets.on_targets import OnTarget, on_targets
from hmdf.hw_targets.schema import Target
from hmdf.sim.encoder import normalise
from hmdf.sim.program import Program
from hmdf.sim.simulator import Result, Simulator
from hmdf.sim.steps import changing, with_steps

from ..documents.exploration import Point, Setting
from .grid import trained_bits
from .workload import Workload

FORMAT = 1
"""Of a kept point; counted up when its meaning changes."""
BLOCK = 256
"""Samples normalised at a time."""


def key_of(workload: Workload, setting: Setting, target: str) -> str:
    """Identifies a point; changes with anything that may change its figures."""
    parts = [FORMAT, workload.fingerprint, setting, workload.targets[target], workload.chips, workload.serialize]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]


def build(workload: Workload, setting: Setting, target: Target) -> tuple[Program, list[str]]:
    """The program of a setting, and what the compiler says it changed.

    Raises:
        CompileError: the target's registers cannot hold it.
    """
    network = workload.networks[setting.pools]
    most = trained_bits(network.graph)
    config = Config(
        message_bits=setting.message_bits,
        input_bits=setting.input_bits,
        weight_bits=setting.weight_bits,
        merge_pools=setting.pools == "merge",
        bits={name: min(setting.spike_bits, bits) for name, bits in most.items()},
    )
    quantized = quantize(
        network.graph,
        network.statistics,
        framed=workload.framed,
        preprocessing=workload.preprocessing,
        registers=registers_of(target),
        config=config,
        metadata=msgspec.structs.replace(workload.metadata, target=target.name),
    )
    whole = quantized.program
    if setting.time_steps > whole.time_steps and (findings := changing(whole)):
        raise CompileError(findings)
    program = with_steps(whole, setting.time_steps)
    if workload.serialize and target.capabilities.message_bits == 1:
        program = serialize(program)
    return program, [str(note) for note in quantized.notes]


def measure(workload: Workload, setting: Setting, targets: tuple[str, ...]) -> list[Point]:
    """A point for each target; targets that get the same integers share one simulation."""
    points = []
    chips = [workload.targets[name] for name in targets]
    for group in _alike(workload, chips):
        began = time.perf_counter()
        try:
            program, notes = build(workload, setting, group[0])
        except CompileError as error:
            points += [_refused(workload, setting, chip, error, time.perf_counter() - began) for chip in group]
            continue
        result = Simulator(threads=1).simulate(program, _samples(workload, program), labels=workload.labels)
        placed = on_targets(program, group, measured(result.counters), workload.chips)
        spent = (time.perf_counter() - began) / len(group)
        points += [_point(workload, setting, program, notes, result, on, spent) for on in placed]
    return points


def _alike(workload: Workload, targets: Iterable[Target]) -> list[list[Target]]:
    groups: dict[tuple[Registers, bool], list[Target]] = {}
    for target in targets:
        bitwise = workload.serialize and target.capabilities.message_bits == 1
        groups.setdefault((registers_of(target), bitwise), []).append(target)
    return list(groups.values())


def _samples(workload: Workload, program: Program) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(workload.inputs), BLOCK):
        block = workload.inputs[start : start + BLOCK]
        if workload.framed:
            block = block[:, : program.time_steps]
        yield normalise(block, workload.preprocessing)


def _refused(workload: Workload, setting: Setting, target: Target, error: CompileError, seconds: float) -> Point:
    return Point(
        key=key_of(workload, setting, target.name),
        target=target.name,
        setting=setting,
        findings=list(error.findings),
        notes=[],
        samples=len(workload.labels),
        seconds=seconds,
    )


def _point(
    workload: Workload,
    setting: Setting,
    program: Program,
    notes: list[str],
    result: Result,
    on: OnTarget,
    seconds: float,
) -> Point:
    named = msgspec.structs.replace(program, metadata=msgspec.structs.replace(program.metadata, target=on.target))
    counters, cost = result.counters, on.estimate
    return Point(
        key=key_of(workload, setting, on.target),
        target=on.target,
        setting=setting,
        findings=on.findings,
        notes=notes,
        samples=len(workload.labels),
        program_sha256=named.sha256,
        correct=int(np.count_nonzero(result.predictions == workload.labels)),
        accuracy=result.accuracy,
        energy_pj=None if cost is None else cost.energy.total,
        energy_status=None if cost is None else cost.energy.status,
        energy_missing=() if cost is None else cost.energy.missing,
        latency_ns=None if cost is None or cost.timing is None else cost.timing.sample,
        memory_bytes=None if cost is None else sum(cost.memory.values()),
        cores=None if cost is None else cost.cores,
        chips=None if cost is None else cost.chips,
        sops_per_sample=float(counters.sops_per_sample().mean()),
        macs_per_sample=float(counters.macs_per_sample()),
        saturations=sum(
            int(p.state_saturations.sum() + p.message_saturations.sum()) for p in counters.populations.values()
        ),
        seconds=seconds,
    )
