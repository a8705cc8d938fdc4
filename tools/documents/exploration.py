"""points/KEY.json and exploration.json of hmdf-explore, key by key; the table of docs/explore.md is made from here."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hmdf.hw_targets.schema import Cost, Status
from hmdf.sim.finding import Finding

Pools = Literal["keep", "merge"]


class Setting(msgspec.Struct, frozen=True, order=True):
    """What is varied."""

    spike_bits: Annotated[int, "of graded spikes; a population that training quantised to fewer keeps those"]
    time_steps: Annotated[int, "the first k steps of the trained ones"]
    message_bits: Annotated[int, "as the options"] = 16
    input_bits: Annotated[int, "as the options"] = 8
    weight_bits: Annotated[int, "as the options"] = 8
    pools: Annotated[Pools, "`merge` folds average pools into the next synapses"] = "keep"


class Point(msgspec.Struct, frozen=True):
    """A setting on a target, as measured; figures are None where they are not known."""

    key: Annotated[str, "identifies model, compiler, samples, setting and target"]
    target: str
    setting: Setting
    findings: Annotated[list[Finding], "empty when it fits; else the figures hold once they are fixed"]
    notes: Annotated[list[str], "what the compiler changed, such as fewer bits where an accumulator could overflow"]
    samples: Annotated[int, "simulated"]
    program_sha256: Annotated[str | None, "of the program"] = None
    correct: Annotated[int | None, "samples whose class is the label's"] = None
    accuracy: Annotated[float | None, "correct / samples"] = None
    energy_pj: Annotated[Cost | None, "per sample"] = None
    energy_status: Annotated[Status | None, "the weakest status of its constants"] = None
    energy_missing: Annotated[tuple[str, ...], "constants that the target does not know, and are in no sum"] = ()
    latency_ns: Annotated[Cost | None, "per sample"] = None
    memory_bytes: Annotated[int | None, "all memories of all cores"] = None
    cores: Annotated[int | None, "of the mapping"] = None
    chips: Annotated[int | None, "of the mapping"] = None
    sops_per_sample: Annotated[float | None, "counted"] = None
    macs_per_sample: Annotated[float | None, "counted"] = None
    saturations: Annotated[int | None, "clamps of states and messages that fired"] = None
    seconds: Annotated[float, "that compiling, simulating and costing took"] = 0.0

    @property
    def fits(self) -> bool:
        return not self.findings


class RankedPoint(Point, frozen=True, kw_only=True):
    """A point beside the others."""

    front: Annotated[bool, "whether it is on the front of its target"]


class WantedLimits(msgspec.Struct, frozen=True):
    """What a setting must keep; None = anything."""

    max_energy: Annotated[float | None, "pJ"] = None
    max_memory: Annotated[float | None, "bytes"] = None
    max_latency: Annotated[float | None, "ns"] = None
    max_cores: float | None = None
    min_accuracy: Annotated[float | None, "0..1"] = None


class Exploration(msgspec.Struct, frozen=True, kw_only=True):
    """exploration.json."""

    network: Annotated[str, "architecture, or the factory of `--network`"]
    source_sha256: Annotated[str, "of the checkpoint file"]
    tool_version: Annotated[str, "hmdf that measured"]
    calibration_data: Annotated[str, "data set it was calibrated on"]
    calibration_samples: Annotated[int, "how many samples of it"]
    samples: Annotated[int, "how many were simulated"]
    trained_steps: Annotated[int, "T of training"]
    chips: Annotated[int, "that may be used"]
    serialize_spikes: Annotated[bool, "whether graded spikes are sent bit by bit where messages are binary"]
    limits: WantedLimits
    chosen: Annotated[str | None, "key of a point; null when no point keeps the limits"]
    why: Annotated[list[str], "the reasons, in sentences"]
    points: list[RankedPoint]
