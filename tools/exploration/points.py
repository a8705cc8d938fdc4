"""Settings and what was measured of them: plain data, kept as JSON."""

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
        message_bits, input_bits, weight_bits: as in `Config`.
        pools: "merge" folds average pools into the next synapses.
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
        findings: why it does not fit; its other figures then hold once they are mended.
        notes: what the compiler changed.
        accuracy: correct / samples.
        energy_pj, latency_ns: per sample, low - typical - high.
        energy_missing: constants that the target does not know; its energy is then incomplete.
        memory_bytes: all memories of all cores.
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
