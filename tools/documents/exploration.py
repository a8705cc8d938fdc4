"""points/KEY.json and exploration.json of hmdf-explore, key by key; the table of docs/explore.md is made from here."""

from __future__ import annotations

from typing import Literal

import msgspec

from hmdf.hw_targets.schema import Cost, Status
from hmdf.sim.finding import Finding

Pools = Literal["keep", "merge"]


class Setting(msgspec.Struct, frozen=True, order=True):
    """What is varied.

    Fields:
        spike_bits: of graded spikes; a population that training quantised to fewer keeps those.
        time_steps: the first k steps of the trained ones.
        message_bits, input_bits, weight_bits: as the options.
        pools: `merge` folds average pools into the next synapses.
    """

    spike_bits: int
    time_steps: int
    message_bits: int = 16
    input_bits: int = 8
    weight_bits: int = 8
    pools: Pools = "keep"


class Point(msgspec.Struct, frozen=True):
    """A setting on a target, as measured; figures are None where they are not known.

    Fields:
        key: identifies model, compiler, samples, setting and target.
        findings: why it does not fit; its other figures hold once they are fixed. Empty when it fits.
        notes: what the compiler changed, such as fewer bits where an accumulator could overflow.
        samples: simulated.
        program_sha256: of the program.
        correct: samples whose class is the label's.
        accuracy: correct / samples.
        energy_pj, latency_ns: per sample.
        energy_status: the weakest status of its constants.
        energy_missing: constants that the target does not know; its energy is then incomplete.
        memory_bytes: all memories of all cores.
        cores, chips: of the mapping.
        sops_per_sample, macs_per_sample: counted.
        saturations: clamps of states and messages that fired.
        seconds: that compiling, simulating and costing took.
    """

    key: str
    target: str
    setting: Setting
    findings: list[Finding]
    notes: list[str]
    samples: int
    program_sha256: str | None = None
    correct: int | None = None
    accuracy: float | None = None
    energy_pj: Cost | None = None
    energy_status: Status | None = None
    energy_missing: tuple[str, ...] = ()
    latency_ns: Cost | None = None
    memory_bytes: int | None = None
    cores: int | None = None
    chips: int | None = None
    sops_per_sample: float | None = None
    macs_per_sample: float | None = None
    saturations: int | None = None
    seconds: float = 0.0

    @property
    def fits(self) -> bool:
        return not self.findings


class RankedPoint(Point, frozen=True, kw_only=True):
    """A point beside the others.

    Fields:
        front: whether it is on the front of its target.
    """

    front: bool


class WantedLimits(msgspec.Struct, frozen=True):
    """What a setting must keep; None = anything.

    Fields:
        max_energy: pJ.
        max_memory: bytes.
        max_latency: ns.
        min_accuracy: 0..1.
    """

    max_energy: float | None = None
    max_memory: float | None = None
    max_latency: float | None = None
    max_cores: float | None = None
    min_accuracy: float | None = None


class Exploration(msgspec.Struct, frozen=True, kw_only=True):
    """exploration.json.

    Fields:
        network: architecture, or the factory of `--network`.
        source_sha256: of the checkpoint file.
        tool_version: hmdf that measured.
        calibration_data: data set it was calibrated on.
        calibration_samples: how many samples of it.
        samples: how many were simulated.
        trained_steps: T of training.
        chips: that may be used.
        serialize_spikes: whether graded spikes are sent bit by bit where messages are binary.
        chosen: key of a point; null when no point keeps the limits.
        why: the reasons, in sentences.
    """

    network: str
    source_sha256: str
    tool_version: str
    calibration_data: str
    calibration_samples: int
    samples: int
    trained_steps: int
    chips: int
    serialize_spikes: bool
    limits: WantedLimits
    chosen: str | None
    why: list[str]
    points: list[RankedPoint]
