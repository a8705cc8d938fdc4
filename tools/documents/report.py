"""What hmdf-report shows, as one document: `--format json` writes it, the HTML and Markdown forms draw it."""

from __future__ import annotations

from typing import Literal

import msgspec

from hmdf.hw_targets.place.mapping import Mapping
from hmdf.hw_targets.price.cost import EnergyRow
from hmdf.hw_targets.price.references import NeuroBench
from hmdf.hw_targets.schema import ChipLimits, Cost, Fact
from hmdf.sim.verify import Comparison

from . import run

Role = Literal["messages", "current", "gate"]
"""How one node reads another."""


class ProgramFacts(msgspec.Struct, frozen=True):
    """The program itself; `neurons` and `weights` are counts."""

    sha256: str
    network: str
    data_set: str
    class_names: list[str]
    compiled_for: str
    state_bits: int
    accumulator_bits: int
    input_shape: list[int]
    input_bits: int
    input_signed: bool
    neurons: int
    weights: int


class Held(msgspec.Struct, frozen=True):
    """A part of the network that is no node of the program: what it costs, and where it lies.

    Attributes:
        energy_pj: None where the target's mapping or costs are not known.
        cores: that hold a part of it.
        core_bytes: on all of them, by purpose; None for what is not held by cores.
    """

    energy_pj: Cost | None
    cores: list[int]
    core_bytes: dict[str, int] | None


class ReportLayer(run.LayerRow, frozen=True, kw_only=True, omit_defaults=False):
    """A layer with what it costs on the target, where it lies (as in `Held`), and the noise that it has."""

    role: Literal["synapse", "population"]
    weight_shape: list[int] | None
    energy_pj: Cost | None
    cores: list[int]
    core_bytes: dict[str, int] | None
    noise: run.NoiseRow | None


class ReadBy(msgspec.Struct, frozen=True):
    """One node reads another; `messages_per_sample` is None for the accumulators of a synapse."""

    source: str
    reader: str
    role: Role
    messages_per_sample: float | None


class CoreGrid(msgspec.Struct, frozen=True):
    """Where every core of one chip lies on the mesh."""

    x: list[int]
    y: list[int]


class Pace(msgspec.Struct, frozen=True):
    """Time on the target, as in `price.timing.Timing`."""

    step: Cost
    sample: Cost
    period: Cost
    depth: int
    slowest_core: int | None
    bound: str


class ReportTarget(msgspec.Struct, kw_only=True):
    """The target of the report: where every slice lies, every row of the energy, every constant."""

    name: str
    title: str
    summary: str
    chips_allowed: int
    limits: ChipLimits
    memory_per_core: int | None
    facts: tuple[Fact, ...]
    mapping: Mapping | None = None
    mesh: CoreGrid | None = None
    energy_rows: list[EnergyRow] = []
    timing: Pace | None = None


class ComparedTarget(run.TargetRow, frozen=True, kw_only=True, omit_defaults=False):
    """A target with what the keys of its sources stand for."""

    sources: dict[str, str]


class UsedFile(msgspec.Struct, frozen=True):
    """A file that the report was made from."""

    name: str
    sha256: str


class Provenance(msgspec.Struct, frozen=True):
    """Where the numbers come from; `compiled` is None without the compiler's report.json."""

    program_sha256: str
    source_sha256: str
    compiler_version: str
    calibration_data: str
    calibration_samples: int
    measured: run.Invocation
    compiled: run.Invocation | None
    files: list[UsedFile]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The document. Fields named as in out.json repeat it; `targets[0]` is the target of the report."""

    title: str
    samples: int
    time_steps: int
    accuracy: run.Accuracy
    sops: run.Sops
    macs: run.Macs
    memory: run.MemoryUse
    input: run.InputMessages
    verify: dict[str, Comparison]
    fidelity: list[run.NoiseRow]
    timing: run.Elapsed
    program: ProgramFacts
    layers: list[ReportLayer]
    ends: dict[str, Held]
    edges: list[ReadBy]
    targets: list[ComparedTarget]
    target: ReportTarget
    literature: run.Literature
    ann: run.AnnRow
    neurobench: NeuroBench
    ann_constants: list[Fact]
    baseline: run.Baseline | None
    sample: run.OneSample | None
    notes: list[str]
    provenance: Provenance
