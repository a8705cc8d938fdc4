"""What a target consists of: capabilities, limits, costs, memories, and the origin of each number. See `target`."""

from __future__ import annotations

from math import isfinite
from typing import Any, Literal

import msgspec

Status = Literal["published", "derived", "estimate"]
Purpose = Literal["weights", "state", "accumulators", "parameters", "axons", "buffers"]
PURPOSES: tuple[Purpose, ...] = ("weights", "state", "accumulators", "parameters", "axons", "buffers")
"""What the memory of a core is used for; docs/targets.md explains each."""


CORES = ("cortex-m4", "cortex-m7", "cortex-m55")
"""Processors that C is compiled and counted for."""


class Capabilities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the chip's neurons, synapses and messages can do.

    Attributes:
        state_bits, accumulator_bits: width of a membrane and of a synaptic accumulator, signed.
        message_bits: most bits of a message between cores; 1 = binary spikes only.
        signed_messages: whether a message may be negative.
        weight_bits: widths a weight can be stored in, ascending; 2 is ternary (-1, 0, +1). A weight is stored in the
            narrowest width that holds it.
        axon_copies: input axons that one source neuron takes, one number per entry of `weight_bits`
            (TrueNorth: a weight is a choice among axon types).
        shared_kernels: whether a convolution's kernel is stored once per core, or once per connection.
        sparse_weights: whether weights may be a list of those that are not 0, each with its place.
        multiplier: whether a neuron multiplies what it takes in by a 16-bit number before it shifts.
        leak: whether the membrane can be multiplied by a fraction at each step.
        per_step_parameters: whether parameters may change from time-step to time-step within a sample.
        gates: whether one message can scale the current of a channel.
        sum_pool, max_pool: pools over messages.
        dynamics: the neurons of docs/numerics.md that it can compute.
        reset_to_value: whether a hard reset may be to another value than 0.
        input_message_bits, input_weight_bits: of the first layer's input and weights, where they differ.
        input_axon_bits, output_axon_bits: memory that one entry of a core's routing tables takes.
        divisible_layers: whether one population may lie on several cores.
        shared_cores: whether one core may hold several populations.
    """

    state_bits: int
    accumulator_bits: int
    message_bits: int
    signed_messages: bool
    weight_bits: tuple[int, ...]
    shared_kernels: bool
    multiplier: bool
    leak: bool
    per_step_parameters: bool
    gates: bool
    sum_pool: bool
    max_pool: bool
    dynamics: tuple[str, ...]
    divisible_layers: bool
    shared_cores: bool
    sparse_weights: bool = False
    reset_to_value: bool = True
    axon_copies: tuple[int, ...] = ()
    input_message_bits: int | None = None
    input_weight_bits: tuple[int, ...] | None = None
    input_axon_bits: int = 0
    output_axon_bits: int = 0

    def stored_weight_bits(self, weight_bits: int) -> int | None:
        """The narrowest storable width that holds weights of `weight_bits` bits, None when there is none."""
        # A 1-bit weight {-1, +1} is also a ternary one; each wider format holds every narrower one.
        return next((bits for bits in self.weight_bits if bits >= weight_bits), None)

    def axons_per_neuron(self, weight_bits: int) -> int:
        """Input axons that one source neuron takes on a core that stores `weight_bits`-bit weights for it."""
        stored = self.stored_weight_bits(weight_bits)
        if not self.axon_copies or stored is None:
            return 1
        return self.axon_copies[self.weight_bits.index(stored)]


class ChipLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one chip; None = no limit is known.

    Attributes:
        cores: cores of one chip.
        neurons_per_core: neurons (each with one message per step) of one core.
        input_axons_per_core: different source neurons that one core can listen to.
        output_axons_per_core: (neuron, destination core) pairs that one core can send to.
        fan_in_per_neuron: synapses that end in one neuron.
        mesh: tiles in x and y, message routes run along the mesh.
        cores_per_tile: cores that share one router.
        chips: chips that can be joined.
    """

    cores: int | None = None
    neurons_per_core: int | None = None
    input_axons_per_core: int | None = None
    output_axons_per_core: int | None = None
    fan_in_per_neuron: int | None = None
    mesh: tuple[int, int] | None = None
    cores_per_tile: int | None = None
    chips: int | None = None


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one event costs: low <= typical <= high, equal when the number is published as one."""

    low: float
    typical: float
    high: float

    def __post_init__(self) -> None:
        if not (all(isfinite(v) for v in (self.low, self.typical, self.high)) and self.low >= 0):
            raise ValueError("low, typical and high must be finite and not negative")
        if not self.low <= self.typical <= self.high:
            raise ValueError(f"needs low <= typical <= high (got {self.low}, {self.typical}, {self.high})")


def triple(cost: Cost) -> tuple[float, float, float]:
    """Low, typical, high."""
    return cost.low, cost.typical, cost.high


UNITS = {
    "synaptic_op_energy": "pJ",
    "mac_energy": "pJ",
    "stem_mac_energy": "pJ",
    "port_energy": "pJ",
    "neuron_active_energy": "pJ",
    "neuron_inactive_energy": "pJ",
    "message_energy": "pJ",
    "hop_x_energy": "pJ",
    "hop_y_energy": "pJ",
    "static_power": "mW",
    "four_bit_synaptic_op_energy": "pJ",
    "int8_mac_energy": "pJ",
    "fp32_mac_energy": "pJ",
    "synaptic_op_time": "ns",
    "mac_time": "ns",
    "port_time": "ns",
    "neuron_active_time": "ns",
    "neuron_inactive_time": "ns",
    "message_time": "ns",
    "hop_time": "ns",
    "barrier_time": "ns",
    "step_time": "ns",
}
"""The unit each cost is given in."""


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What events cost; None = not known, and then no total is claimed that would need it.

    Fields, in pJ unless said otherwise:
        synaptic_op_energy: one non-zero spike meeting one non-zero weight.
        mac_energy: one weight times one message of a dense current (a picture, the residual stream).
        stem_mac_energy: the same at the layer that reads a picture, charged once for all steps that show it; None =
            as mac_energy, at every step.
        port_energy: one message that a population takes in directly, without weights.
        neuron_active_energy, neuron_inactive_energy: one neuron update that sends a message / that sends none.
        message_energy: one message leaving its neuron, to its own core or tile.
        hop_x_energy, hop_y_energy: one message over one mesh link.
        static_power: mW of one chip, whatever it does.
        four_bit_synaptic_op_energy: of a network of 4-bit spikes in HD-LIF's convention; for its row in the table only.
        int8_mac_energy, fp32_mac_energy: of the same network as an ANN; for the comparison only.
        *_time: ns of the same events on one core; barrier_time: the end of a time-step; step_time: the shortest step.
    """

    synaptic_op_energy: Cost | None = None
    mac_energy: Cost | None = None
    stem_mac_energy: Cost | None = None
    port_energy: Cost | None = None
    neuron_active_energy: Cost | None = None
    neuron_inactive_energy: Cost | None = None
    message_energy: Cost | None = None
    hop_x_energy: Cost | None = None
    hop_y_energy: Cost | None = None
    static_power: Cost | None = None
    four_bit_synaptic_op_energy: Cost | None = None
    int8_mac_energy: Cost | None = None
    fp32_mac_energy: Cost | None = None
    synaptic_op_time: Cost | None = None
    mac_time: Cost | None = None
    port_time: Cost | None = None
    neuron_active_time: Cost | None = None
    neuron_inactive_time: Cost | None = None
    message_time: Cost | None = None
    hop_time: Cost | None = None
    barrier_time: Cost | None = None
    step_time: Cost | None = None


class CoreMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One memory of a core: `bytes` per core (one number, or one per core where cores differ), shared by `holds`."""

    name: str
    bytes: tuple[int, ...]
    holds: tuple[Purpose, ...]

    def of_core(self, core: int) -> int:
        """Bytes that core number `core` of a chip has."""
        return self.bytes[core % len(self.bytes)]


class Processor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A microcontroller, which runs the program as C.

    Attributes:
        core: its processor: cortex-m4, cortex-m7 or cortex-m55.
        flash_bytes: memory for code and constants.
        ram_bytes: memory for what is written.
    """

    core: str
    flash_bytes: int
    ram_bytes: int


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One number of a target with its origin; `key` is its path in the file, `value` as in the file.

    `low` and `high`: what an estimate may be instead; those of a cost are in its value.
    """

    key: str
    value: Any
    unit: str
    source: str
    status: Status
    note: str
    low: Any = None
    high: Any = None


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chip. `facts` repeats every number with its source and status, in the order of the file.

    `about`: Markdown, what one should know about the numbers as a whole. `processor`: of a microcontroller.
    """

    name: str
    title: str
    summary: str
    about: str
    sources: dict[str, str]
    capabilities: Capabilities
    limits: ChipLimits
    costs: Costs
    memories: tuple[CoreMemory, ...]
    facts: tuple[Fact, ...]
    processor: Processor | None = None

    @property
    def memory_per_core(self) -> int | None:
        """Bytes of all memories of the largest core; None = no limit."""
        if not self.memories:
            return None
        cores = max(len(m.bytes) for m in self.memories)
        return max(sum(m.of_core(core) for m in self.memories) for core in range(cores))

    def fact(self, key: str) -> Fact:
        """The fact of a key such as "costs.synaptic_op_energy"."""
        return next(fact for fact in self.facts if fact.key == key)
