"""out.json of hmdf-sim and report.json of hmdf-compile, key by key; the tables of docs/reports.md are made from here.

The text beside a type is what the key means, in capitals before it what stands for the keys of a table of names. In a
struct with `omit_defaults` a key with a default is left out where it does not apply.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from hmdf.hw_targets.footprint import Footprint
from hmdf.hw_targets.price.conventions import Convention
from hmdf.hw_targets.price.cost import Spread
from hmdf.hw_targets.price.references import NeuroBench
from hmdf.hw_targets.schema import Cost, Fact, Status
from hmdf.sim.finding import Finding
from hmdf.sim.verify import Comparison

# Bounds that every true number keeps, so that none of another kind reaches a sum or a picture.
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e24)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
Extent = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
Real = Annotated[float, msgspec.Meta(ge=-1e24, le=1e24)]


# ---------------------------------------------------------------------- what was counted


class Accuracy(msgspec.Struct, frozen=True, rename={"floating": "float"}):
    """Shares of the samples."""

    floating: Annotated[Share | None, "share of samples that the float model gets right; null without `--against`"] = (
        None
    )
    integer: Annotated[Share | None, "the same of the program; null in report.json and without labels"] = None
    agreement: Annotated[Share | None, "share of samples to which both give the same class"] = None


class Sops(msgspec.Struct, frozen=True):
    """Synaptic operations."""

    per_sample: Annotated[Amount, "synaptic operations, mean over the samples"]
    std: Annotated[Amount, "standard deviation over the samples"]
    smallest: Annotated[Whole, "of the cheapest sample"]
    largest: Annotated[Whole, "of the dearest sample"]
    conventional_per_sample: Annotated[Amount, "firing rate x dense MACs x T after the stem, as Spikformer counts"]


class Macs(msgspec.Struct, frozen=True):
    """Multiply-accumulates."""

    per_sample: Annotated[Whole, "multiply-accumulates of the dense synapses, the same for every sample"]


class MemoryUse(msgspec.Struct, frozen=True):
    """Bytes of the program on no chip."""

    weight_bytes: Annotated[Whole, "weights at their true width"]
    conventional_weight_bytes: Annotated[Amount, "weights as papers charge them"]
    parameter_bytes: Annotated[Whole, "multipliers, biases, thresholds, leaks, tables"]
    state_bytes: Annotated[Whole, "membranes"]
    total_bytes: Annotated[Whole, "weights + parameters + state"]


class InputMessages(msgspec.Struct, omit_defaults=True):
    """Messages of the input."""

    spike_density: Annotated[Share, "share of non-zero input messages"]
    spikes_per_sample: Annotated[Amount, "non-zero input messages, all steps"]
    clipped_share: Annotated[Share | None, "share of input values beyond the range of the messages; out.json only"] = (
        None
    )


class LayerRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A synapse or a population; what does not apply to its kind is null or left out."""

    name: str
    shape: Annotated[list[Extent], "of the accumulator or the message, without time"]
    kind: Annotated[str, "the tag of its op or dynamics ([program-format.md](program-format.md))"]
    bits: Annotated[Whole, "of a weight (0 for pools) or of the message"]
    signed: Annotated[bool | None, "population: whether the message is signed"] = None
    sops_per_sample: Annotated[Amount | None, "synapse: mean over samples; 0 for a dense synapse"]
    macs_per_sample: Annotated[Whole | None, "synapse: 0 for one that carries spikes"]
    conventional_sops_per_sample: Annotated[Amount | None, "synapse: as Spikformer counts"] = None
    spike_density: Annotated[Share, "of the population, or of the synapse's source"]
    spikes_per_sample: Annotated[Amount | None, "population: non-zero messages, all steps"] = None
    saturations: Annotated[Whole | None, "population: state and message saturations, summed over the samples"]
    state_saturations: Annotated[Whole | None, "population: clamps of the state that changed a value"] = None
    message_saturations: Annotated[Whole | None, "population: clamps of the message that changed a value"] = None
    state_can_saturate: Annotated[bool | None, "population: whether any input can make it (range proof)"] = None
    message_can_saturate: Annotated[bool | None, "population: the same for the message"] = None
    weight_bytes: Annotated[Whole | None, "synapse"]
    register_bits: Annotated[Whole, "that the accumulator, or the membrane (else the current), provably needs"]
    register_limit: Annotated[Extent, "bits it has: A or S"]


class ProgramOrigin(msgspec.Struct, frozen=True):
    """Which program."""

    sha256: Annotated[str, "checksum of the program ([definition](program-format.md#checksum))"]
    network: Annotated[str, "architecture, or the factory of `--network`"]
    target: Annotated[str, "chip it was compiled for"]
    tool_version: Annotated[str, "hmdf that compiled it"]
    source_sha256: Annotated[str, "of the checkpoint file"]
    calibration_data: Annotated[str, "data set it was calibrated on"]
    calibration_samples: Annotated[int, "how many samples of it"]
    state_bits: Annotated[int, "S"]
    accumulator_bits: Annotated[int, "A"]


class Elapsed(msgspec.Struct, frozen=True):
    """Time of the simulation."""

    seconds: Annotated[
        Amount, "of the simulation, on a cluster until the last block came; the first run compiles kernels"
    ]


class Invocation(msgspec.Struct, frozen=True):
    """How the numbers were made."""

    command: Annotated[str, "the command that wrote this file"]
    finished: Annotated[str, "when, ISO 8601 in UTC"]
    versions: Annotated[dict[str, str], "PACKAGE: python, hmdf, numpy, numba"]
    machine: Annotated[str, "operating system and processor architecture"]


# --------------------------------------------------------------- what hmdf-sim adds to it


class RunData(msgspec.Struct, frozen=True):
    """Which samples."""

    name: Annotated[str, "the data set that was run"]
    split: Annotated[str, "`train`, `test` or `all`"]
    labels_sha256: Annotated[str | None, "of the labels as 64-bit integers; null without labels"]


class NoiseRow(msgspec.Struct, frozen=True):
    """What the integers add to one population."""

    population: str
    bits: Annotated[Whole, "of its message"]
    lsb: Annotated[Amount, "real value of one unit of its message"]
    sqnr_db: Annotated[Real | None, "against the float network, with the noise of all layers before"]
    own_sqnr_db: Annotated[Real | None, "of this layer alone, both being given the same input"]


class PredictionRow(msgspec.Struct, frozen=True):
    """What the program says of one image."""

    file: Annotated[str, "path of the image"]
    label: Annotated[Whole | None, "class of the folder that it lies in; null without class folders"]
    predicted: Annotated[Whole, "the program's class"]
    class_name: Annotated[str, "its name; its number where the program has no names"]
    score: Annotated[float, "the largest logit, as a real number"]
    margin: Annotated[float, "how far it is above the second largest"]


class Picture(msgspec.Struct, frozen=True):
    """A sample to look at."""

    kind: Annotated[Literal["grey", "rgb", "events"], "`grey`, `rgb`, or `events` (first and second polarity)"]
    shape: Annotated[tuple[Extent, Extent, Extent], "(H, W, channels), longest side at most 64"]
    values: Annotated[list[Whole], "0..255, in C order"]


class SpikeMaps(msgspec.Struct, frozen=True):
    """Where and when a population sends."""

    name: Annotated[str, "a population, or `input`"]
    spikes_by_step: Annotated[list[Whole], "non-zero messages of each step"]
    map_shape: Annotated[tuple[Extent, Extent, Extent], "(steps, height, width): at most 16 each"]
    map: Annotated[list[Whole], "magnitudes summed over channels and over squares, in C order"]


class OneSample(msgspec.Struct, frozen=True):
    """A sample from its picture to its class."""

    index: Annotated[Whole, "which sample"]
    label: Annotated[Whole | None, "null for an image without a label"]
    predicted: Annotated[Whole, "the program's class"]
    picture: Annotated[Picture | None, "null for a sample that is no picture"]
    logits_by_step: Annotated[list[list[Real]], "(T, classes): the logits after each step as real numbers"]
    layers: list[SpikeMaps]


# ----------------------------------------------------------------------- what it costs


class TargetRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The program on one target. Without a mapping, the keys from `core_lower_bound` on are left out."""

    target: Annotated[str, "short name"]
    title: str
    fits: bool
    findings: Annotated[list[Finding], "empty when it fits"]
    cores: Annotated[Whole | None, "null where some layer fits no core"]
    chips: Whole | None
    energy_pj: Annotated[Cost | None, "total; null when no cost is known"]
    energy_status: Annotated[Status | None, "weakest of the constants: `published`, `derived` or `estimate`"]
    energy_missing: Annotated[list[str], "constants that are not known, and are in no sum"]
    latency_ns: Annotated[Cost | None, "from the first input to the last logit"]
    memory_bytes: Annotated[Whole | None, "all cores together"]
    core_lower_bound: Annotated[Whole | None, "no mapping can use fewer cores"] = None
    core_bound_by: Annotated[str, "the limit of a core that the bound comes from"] = ""
    core_ratio: Annotated[float | None, "cores / bound: 1 is optimal"] = None
    energy_by_layer_pj: Annotated[dict[str, Cost] | None, "NODE: and `input`, `readout`; `chip` is static power"] = None
    energy_by_constant_pj: Annotated[dict[str, Cost] | None, "CONSTANT: the same by the target's constant"] = None
    energy_spread_pj: Annotated[Spread | UnsetType | None, "over the samples, at typical constants"] = UNSET
    latency_spread_ns: Annotated[Spread | UnsetType | None, "over the samples, each at its own slowest core"] = UNSET
    step_ns: Annotated[Cost | UnsetType | None, "one time-step"] = UNSET
    memory_by_purpose: Annotated[dict[str, Whole] | None, "PURPOSE: what it is for"] = None
    compressed_weight_bytes: Annotated[
        Whole | None, "weights without zeros, each with its place; null where the target stores all"
    ] = None
    constants: Annotated[list[Fact] | None, "every constant that was used"] = None
    footprint: Annotated[Footprint | None, "on a microcontroller only"] = None


class Literature(msgspec.Struct, frozen=True):
    """The figures that papers print."""

    energy_pj: Annotated[Cost | None, "4.6 pJ per MAC of the stem and 0.9 pJ per SOP, as papers print (`cmos45`)"]
    hd_lif_energy_pj: Annotated[Amount | None, "the energy of `hm_df` below; null where not all spikes have 4 bits"]
    beyond_pj: Annotated[Amount, "what MAC prices for dense currents and every step of the stem would add"]
    conventions: Annotated[list[Convention], "[as papers count](counters.md#the-literatures-conventions), per sample"]


class AnnRow(msgspec.Struct, frozen=True):
    """The same network as an ANN."""

    macs: Annotated[Whole, "of the same network as an ANN, one pass"]
    int8_energy_pj: Annotated[Cost, "its MACs at the cost of an 8-bit MAC (`cmos45`)"]
    fp32_energy_pj: Annotated[Cost, "the same in single precision"]


class BaselineTarget(msgspec.Struct, frozen=True):
    """The baseline on one target."""

    target: str
    fits: bool
    energy_pj: Cost | None
    latency_ns: Cost | None


class Baseline(msgspec.Struct, frozen=True):
    """Another network on the same samples."""

    file: Annotated[str, "its name"]
    network: Annotated[str, "as `program.network`, of the baseline"]
    sha256: Annotated[str, "as `program.sha256`"]
    accuracy: Annotated[Share | None, "as `accuracy.integer`"]
    sops_per_sample: Annotated[Amount, "as `sops.per_sample`"]
    macs_per_sample: Annotated[Whole, "as `macs.per_sample`"]
    energy_pj: Annotated[Cost | None, "as `literature.energy_pj`"]
    targets: list[BaselineTarget]


# --------------------------------------------------------------------------- documents


class Counted(msgspec.Struct, kw_only=True):
    """What both files hold."""

    samples: Annotated[Extent, "how many samples were run"]
    time_steps: Annotated[Extent, "T"]
    accuracy: Accuracy = Accuracy()
    sops: Sops
    macs: Macs
    memory: MemoryUse
    input: InputMessages
    layers: list[LayerRow]
    verify: Annotated[dict[str, Comparison], "EXECUTOR: one for each name given to `--verify`"] = {}
    program: ProgramOrigin
    timing: Elapsed
    run: Invocation
    targets: list[TargetRow]
    literature: Literature
    ann: AnnRow
    neurobench: NeuroBench


class Compiled(Counted, kw_only=True):
    """report.json of hmdf-compile."""

    notes: Annotated[list[str], "what the compiler changed, and why"] = []


class Simulated(Counted, kw_only=True):
    """out.json of hmdf-sim."""

    data: RunData | None = None
    fidelity: list[NoiseRow] = []
    predictions: Annotated[list[PredictionRow] | None, "null for data sets"] = None
    sample: OneSample | None = None
    baseline: Annotated[Baseline | None, "null without `--baseline`"] = None
