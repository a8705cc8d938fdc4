"""out.json of hmdf-sim and report.json of hmdf-compile, key by key; the tables of docs/reports.md are made from here.

A key without a default is always written; one with the default None is left out where it does not apply.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

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
    """Shares of the samples.

    Fields:
        floating: share of samples for which the float model gives the label's class; null without `--against`.
        integer: the same for the program; null in report.json and for images without labels.
        agreement: share of samples to which both give the same class; null without `--against`.
    """

    floating: Share | None = None
    integer: Share | None = None
    agreement: Share | None = None


class Sops(msgspec.Struct, frozen=True):
    """Synaptic operations.

    Fields:
        per_sample: synaptic operations, mean over the samples.
        std: standard deviation over the samples.
        smallest: of the cheapest sample.
        largest: of the dearest sample.
        conventional_per_sample: firing rate x dense MACs x T of the layers after the stem, as Spikformer counts.
    """

    per_sample: Amount
    std: Amount
    smallest: Whole
    largest: Whole
    conventional_per_sample: Amount


class Macs(msgspec.Struct, frozen=True):
    """Multiply-accumulates.

    Fields:
        per_sample: multiply-accumulates of the dense synapses, the same for every sample.
    """

    per_sample: Whole


class MemoryUse(msgspec.Struct, frozen=True):
    """Bytes of the program on no chip.

    Fields:
        weight_bytes: weights at their true width.
        conventional_weight_bytes: weights as papers charge them.
        parameter_bytes: multipliers, biases, thresholds, leaks, tables.
        state_bytes: membranes.
        total_bytes: weights + parameters + state.
    """

    weight_bytes: Whole
    conventional_weight_bytes: Amount
    parameter_bytes: Whole
    state_bytes: Whole
    total_bytes: Whole


class InputMessages(msgspec.Struct, omit_defaults=True):
    """Messages of the input.

    Fields:
        spike_density: share of non-zero input messages.
        spikes_per_sample: non-zero input messages, all steps.
        clipped_share: share of input values beyond the range of the input's messages; out.json only.
    """

    spike_density: Share
    spikes_per_sample: Amount
    clipped_share: Share | None = None


class LayerRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A synapse or a population; what does not apply to its kind is null or left out.

    Fields:
        kind: `conv2d`, `linear`, `channel_conv`, `sum_pool`, `max_pool`; `relay`, `hybrid_firing`, `parallel_firing`,
            `leaky_integrate_and_fire`, `multi_hierarchical`, `lookup_table`.
        shape: of the accumulator or the message, without time.
        bits: of a weight (0 for pools) or of the message.
        signed: population: whether the message is signed.
        sops_per_sample: synapse: mean over samples; 0 for a dense synapse.
        macs_per_sample: synapse: 0 for one that carries spikes.
        conventional_sops_per_sample: synapse: as Spikformer counts.
        spike_density: of the population, or of the synapse's source.
        spikes_per_sample: population: non-zero messages, all steps.
        saturations: population: state and message saturations, summed over the samples.
        state_saturations: population: clamps of the state that changed a value.
        message_saturations: population: clamps of the message that changed a value.
        state_can_saturate: population: whether any input can make the state saturate (range proof).
        message_can_saturate: population: the same for the message.
        weight_bytes: synapse.
        register_bits: bits that the accumulator, or the membrane (the current, where there is none), provably needs.
        register_limit: bits it has: A or S.
    """

    name: str
    shape: list[Extent]
    kind: str
    bits: Whole
    signed: bool | None = None
    sops_per_sample: Amount | None
    macs_per_sample: Whole | None
    conventional_sops_per_sample: Amount | None = None
    spike_density: Share
    spikes_per_sample: Amount | None = None
    saturations: Whole | None
    state_saturations: Whole | None = None
    message_saturations: Whole | None = None
    state_can_saturate: bool | None = None
    message_can_saturate: bool | None = None
    weight_bytes: Whole | None
    register_bits: Whole
    register_limit: Extent


class ProgramOrigin(msgspec.Struct, frozen=True):
    """Which program.

    Fields:
        sha256: checksum of the program ([definition](program-format.md#checksum)).
        network: architecture, or the factory of `--network`.
        target: chip it was compiled for.
        tool_version: hmdf that compiled it.
        source_sha256: of the checkpoint file.
        calibration_data: data set it was calibrated on.
        calibration_samples: how many samples of it.
        state_bits: S.
        accumulator_bits: A.
    """

    sha256: str
    network: str
    target: str
    tool_version: str
    source_sha256: str
    calibration_data: str
    calibration_samples: int
    state_bits: int
    accumulator_bits: int


class Elapsed(msgspec.Struct, frozen=True):
    """Time of the simulation.

    Fields:
        seconds: wall-clock time of the simulation; the first run on a machine includes the compilation of the kernels.
    """

    seconds: Amount


class Invocation(msgspec.Struct, frozen=True):
    """How the numbers were made.

    Fields:
        command: the command that wrote this file.
        finished: when, ISO 8601 in UTC.
        versions.PACKAGE: python, hmdf, numpy, numba.
        machine: operating system and processor architecture.
    """

    command: str
    finished: str
    versions: dict[str, str]
    machine: str


# --------------------------------------------------------------- what hmdf-sim adds to it


class RunData(msgspec.Struct, frozen=True):
    """Which samples.

    Fields:
        name: the data set that was run.
        split: `train`, `test` or `all`.
        labels_sha256: of the labels as 64-bit integers: two runs with the same are of the same samples; null for images
            without labels.
    """

    name: str
    split: str
    labels_sha256: str | None


class NoiseRow(msgspec.Struct, frozen=True):
    """What the integers add to one population.

    Fields:
        bits: of its message.
        lsb: real value of one unit of its message.
        sqnr_db: against the folded float network, with the noise of all layers before.
        own_sqnr_db: of this layer alone: the float layer is given what the integer layer was given.
    """

    population: str
    bits: Whole
    lsb: Amount
    sqnr_db: Real | None
    own_sqnr_db: Real | None


class PredictionRow(msgspec.Struct, frozen=True):
    """What the program says of one image.

    Fields:
        file: path of the image.
        label: class of the folder that it lies in; null without class folders.
        predicted: the program's class.
        class_name: its name; its number where the program has no names.
        score: the largest logit, as a real number.
        margin: how far it is above the second largest.
    """

    file: str
    label: Whole | None
    predicted: Whole
    class_name: str
    score: float
    margin: float


class Picture(msgspec.Struct, frozen=True):
    """A sample to look at.

    Fields:
        kind: `grey`, `rgb`, or `events` (first and second polarity).
        shape: (H, W, channels), longest side at most 64.
        values: 0..255, in C order.
    """

    kind: Literal["grey", "rgb", "events"]
    shape: tuple[Extent, Extent, Extent]
    values: list[Whole]


class SpikeMaps(msgspec.Struct, frozen=True):
    """Where and when a population sends.

    Fields:
        name: a population, or `input`.
        spikes_by_step: non-zero messages of each step.
        map_shape: (steps, height, width): at most 16 each.
        map: magnitudes of the messages summed over channels and over squares, in C order.
    """

    name: str
    spikes_by_step: list[Whole]
    map_shape: tuple[Extent, Extent, Extent]
    map: list[Whole]


class OneSample(msgspec.Struct, frozen=True):
    """A sample from its picture to its class.

    Fields:
        index: which sample.
        label: null for an image without a label.
        predicted: the program's class.
        picture: null for a sample that is no picture.
        logits_by_step: (T, classes): the logits after each step as real numbers.
    """

    index: Whole
    label: Whole | None
    predicted: Whole
    picture: Picture | None
    logits_by_step: list[list[Real]]
    layers: list[SpikeMaps]


# ----------------------------------------------------------------------- what it costs


class TargetRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The program on one target. Without a mapping, the keys from `core_lower_bound` on are left out.

    Fields:
        target: short name.
        findings: empty when it fits.
        cores: null where some layer fits no core.
        energy_pj: total; null when no cost is known.
        energy_status: weakest of the constants: `published`, `derived` or `estimate`.
        energy_missing: constants that are not known, and are in no sum.
        latency_ns: from the first input to the last logit.
        memory_bytes: all cores together.
        core_lower_bound: no mapping can use fewer cores.
        core_bound_by: the limit of a core that the bound comes from.
        core_ratio: cores / bound: 1 is optimal.
        energy_by_layer_pj.NODE: `energy_pj` by synapse, population, `input`, `readout`; `chip` is static power.
        energy_by_constant_pj.CONSTANT: the same by the target's constant that it was computed with.
        energy_spread_pj: over the samples, from the typical constants.
        latency_spread_ns: over the samples, each at the slowest core of its own mean step.
        step_ns: one time-step.
        memory_by_purpose.PURPOSE: weights, state, accumulators, parameters, axons, buffers.
        constants: every constant that was used.
    """

    target: str
    title: str
    fits: bool
    findings: list[Finding]
    cores: Whole | None
    chips: Whole | None
    energy_pj: Cost | None
    energy_status: Status | None
    energy_missing: list[str]
    latency_ns: Cost | None
    memory_bytes: Whole | None
    core_lower_bound: Whole | None = None
    core_bound_by: str = ""
    core_ratio: float | None = None
    energy_by_layer_pj: dict[str, Cost] | None = None
    energy_by_constant_pj: dict[str, Cost] | None = None
    energy_spread_pj: Spread | msgspec.UnsetType | None = msgspec.UNSET
    latency_spread_ns: Spread | msgspec.UnsetType | None = msgspec.UNSET
    step_ns: Cost | msgspec.UnsetType | None = msgspec.UNSET
    memory_by_purpose: dict[str, Whole] | None = None
    constants: list[Fact] | None = None


class Literature(msgspec.Struct, frozen=True):
    """The figures that papers print.

    Fields:
        energy_pj: 4.6 pJ per MAC of the stem and 0.9 pJ per SOP, as papers print (`cmos45`).
        hd_lif_energy_pj: the energy of `hm_df` below; null without 4-bit spikes.
        beyond_pj: what MAC prices for dense currents, and the stem at every step, would add to `energy_pj`.
        conventions: the three ways in which papers count: `exact`, `hm_df`, `spikformer`
            ([counters.md](counters.md#the-literatures-conventions)); per sample.
    """

    energy_pj: Cost | None
    hd_lif_energy_pj: Amount | None
    beyond_pj: Amount
    conventions: list[Convention]


class AnnRow(msgspec.Struct, frozen=True):
    """The same network as an ANN.

    Fields:
        macs: of the same network as an ANN, one pass.
        int8_energy_pj: its MACs at the cost of an 8-bit MAC (`cmos45`).
        fp32_energy_pj: the same in single precision.
    """

    macs: Whole
    int8_energy_pj: Cost
    fp32_energy_pj: Cost


class BaselineTarget(msgspec.Struct, frozen=True):
    """The baseline on one target."""

    target: str
    fits: bool
    energy_pj: Cost | None
    latency_ns: Cost | None


class Baseline(msgspec.Struct, frozen=True):
    """Another network on the same samples.

    Fields:
        file: its name.
        network: as `program.network`, of the baseline.
        sha256: as `program.sha256`.
        accuracy: as `accuracy.integer`.
        sops_per_sample: as `sops.per_sample`.
        macs_per_sample: as `macs.per_sample`.
        energy_pj: as `literature.energy_pj`.
    """

    file: str
    network: str
    sha256: str
    accuracy: Share | None
    sops_per_sample: Amount
    macs_per_sample: Whole
    energy_pj: Cost | None
    targets: list[BaselineTarget]


# --------------------------------------------------------------------------- documents


class Counted(msgspec.Struct, kw_only=True):
    """What both files hold.

    Fields:
        samples: how many samples were run.
        time_steps: T.
        verify.EXECUTOR: one for each name given to `--verify`.
    """

    samples: Extent
    time_steps: Extent
    accuracy: Accuracy = Accuracy()
    sops: Sops
    macs: Macs
    memory: MemoryUse
    input: InputMessages
    layers: list[LayerRow]
    verify: dict[str, Comparison] = {}
    program: ProgramOrigin
    timing: Elapsed
    run: Invocation
    targets: list[TargetRow]
    literature: Literature
    ann: AnnRow
    neurobench: NeuroBench


class Compiled(Counted, kw_only=True):
    """report.json of hmdf-compile.

    Fields:
        notes: what the compiler changed, and why.
    """

    notes: list[str] = []


class Simulated(Counted, kw_only=True):
    """out.json of hmdf-sim.

    Fields:
        predictions: null for data sets.
        baseline: null without `--baseline`.
    """

    data: RunData | None = None
    fidelity: list[NoiseRow] = []
    predictions: list[PredictionRow] | None = None
    sample: OneSample | None = None
    baseline: Baseline | None = None
