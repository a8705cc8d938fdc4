"""The nodes of a Program: synapses (weights, no state) and populations (neurons, state, one message per step).

Array fields are read-only NumPy arrays. Parameters that may differ per time-step and per channel have the
shape (T or 1, C or 1), C being the first extent of the population's shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite, prod

import msgspec
import numpy as np

from .arithmetic import integer_range
from .errors import ProgramError

INPUT = "input"
"""The name under which nodes refer to the program's input."""

MAX_ELEMENTS = 1 << 31
"""Largest number of neurons of a population, checked before anything is allocated."""
WEIGHT_RANGES = {1: (-1, 1), 2: (-1, 1), 4: (-8, 7), 8: (-128, 127)}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")

Pair = tuple[int, int]
Shape = tuple[int, ...]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What travels on an edge: an integer of `bits` bits whose least significant bit is worth `scale`."""

    bits: int
    signed: bool
    scale: float

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise ProgramError(f"a message has 1..16 bits (got {self.bits})")
        if self.signed and self.bits < 2:
            raise ProgramError("a signed message needs at least 2 bits (got 1)")
        if not (isfinite(self.scale) and self.scale > 0):
            raise ProgramError(f"the scale of a message must be positive and finite (got {self.scale})")

    @property
    def range(self) -> Pair:
        """Smallest and largest integer: [0, 2^bits - 1], or [-2^(bits-1), 2^(bits-1) - 1] when signed."""
        return integer_range(self.bits, self.signed)


# --------------------------------------------------------------------------- synapses


class Conv2d(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="conv2d"):
    """acc[o,y,x] = sum_{i,u,v} w[o,i,u,v] * in[g(o)+i, y*stride+u*dilation-padding, ...].

    The weight is (C_out, C_in/groups, kh, kw); padding counts as message 0.
    """

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


class Linear(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="linear"):
    """acc[o] = sum_i w[o,i] * in[i], the source flattened in C order; weight (F_out, F_in)."""


class ChannelConv(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="channel_conv"):
    """acc[c] = sum_j w[j] * in[c + j - padding], the channels as the axis (SECA); weight (k,), k = 2*padding + 1."""

    padding: int = 0


class SumPool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sum_pool"):
    """acc[c,y,x] = sum of the window's messages; padding counts as 0. No weights are stored."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)


class MaxPool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="max_pool"):
    """acc[c,y,x] = largest message of the window; padding never wins. No weights are stored."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)


Op = Conv2d | Linear | ChannelConv | SumPool | MaxPool


class Synapse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False, tag="synapse"):
    """Weights without state: turns the message of `source` into an exact integer accumulator.

    Fields:
        name: unique among the nodes.
        source: a population, or "input".
        op: the connection pattern with its geometry.
        weight: int8 array (shape: see the op), None for pools.
        weight_bits: 1 = {-1, +1}, 2 = ternary {-1, 0, +1}, 4 or 8 two's complement; 0 for pools.
    """

    name: str
    source: str
    op: Op
    weight: np.ndarray | None = None
    weight_bits: int = 0

    def __post_init__(self) -> None:
        check_name(self.name)
        dims = {Conv2d: 4, Linear: 2, ChannelConv: 1}.get(type(self.op))
        if dims is None:
            if self.weight is not None or self.weight_bits:
                raise ProgramError(f"synapse '{self.name}': a pool has no weights")
            return
        if self.weight is None or self.weight.ndim != dims or self.weight.dtype != np.int8:
            raise ProgramError(f"synapse '{self.name}': needs an int8 weight with {dims} axes")
        if self.weight_bits not in WEIGHT_RANGES:
            raise ProgramError(f"synapse '{self.name}': weight_bits must be 1, 2, 4 or 8 (got {self.weight_bits})")
        if self.weight.size == 0:
            raise ProgramError(f"synapse '{self.name}': its weight is empty, shape {self.weight.shape}")
        low, high = WEIGHT_RANGES[self.weight_bits]
        outside = (self.weight < low) | (self.weight > high)
        if self.weight_bits == 1:
            outside |= self.weight == 0
        if outside.any():
            where = tuple(int(i) for i in np.argwhere(outside)[0])
            raise ProgramError(
                f"synapse '{self.name}': weight {self.weight[where]} at {where} is not a {self.weight_bits}-bit weight"
            )
        freeze(self, "weight", self.weight)

    def output_shape(self, source: Shape) -> Shape:
        """Shape of the accumulator for a source of shape (C, H, W) or (F,).

        Raises:
            ProgramError: the weight or the geometry does not fit the source.
        """
        match self.op:
            case Linear():
                assert self.weight is not None
                if self.weight.shape[1] != prod(source):
                    raise ProgramError(
                        f"synapse '{self.name}': {self.weight.shape[1]} input features, but '{self.source}' has "
                        f"{prod(source)} {source}"
                    )
                return (self.weight.shape[0],)
            case ChannelConv(padding=padding):
                assert self.weight is not None
                if prod(source[1:]) != 1 or self.weight.shape[0] != 2 * padding + 1:
                    raise ProgramError(
                        f"synapse '{self.name}': needs one value per channel and 2*padding+1 taps (source {source}, "
                        f"{self.weight.shape[0]} taps, padding {padding})"
                    )
                return source
        if len(source) != 3:
            raise ProgramError(f"synapse '{self.name}': needs a (C, H, W) source (got {source})")
        kernel = self.op.kernel if isinstance(self.op, SumPool | MaxPool) else self.weight.shape[2:]  # type: ignore[union-attr]
        dilation = self.op.dilation if isinstance(self.op, Conv2d) else (1, 1)
        if min(*kernel, *self.op.stride, *dilation) < 1 or min(self.op.padding) < 0:
            raise ProgramError(f"synapse '{self.name}': impossible geometry {self.op}")
        if isinstance(self.op, MaxPool) and any(2 * p > k for p, k in zip(self.op.padding, kernel, strict=True)):
            raise ProgramError(f"synapse '{self.name}': padding {self.op.padding} exceeds half the kernel {kernel}")
        extents = [
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, p, d, k, s in zip(source[1:], self.op.padding, dilation, kernel, self.op.stride, strict=True)
        ]
        if min(extents) < 1:
            raise ProgramError(f"synapse '{self.name}': a kernel of {tuple(kernel)} does not fit a source of {source}")
        if not isinstance(self.op, Conv2d):
            return (source[0], *extents)
        assert self.weight is not None
        groups = self.op.groups
        channels_out, channels_in = self.weight.shape[:2]
        if groups < 1 or source[0] % groups or channels_out % groups or channels_in != source[0] // groups:
            raise ProgramError(
                f"synapse '{self.name}': a weight of {self.weight.shape} in {groups} groups does not fit "
                f"{source[0]} channels"
            )
        return (channels_out, *extents)


# ------------------------------------------------------------------------- populations


class Relay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="relay"):
    """y = clamp(I, message range): a current that is passed on as it is."""


class HybridFiring(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False, tag="hybrid_firing"):
    """HM-DF neuron (eq. 3, 5 after the fold of eq. 7).

    m = clamp(rshift(leak * v, leak_shift) + I);  v <- min(m, threshold);
    y = min(rshift(max(m - threshold, 0), spike_shift), 2^bits - 1).
    """

    leak: np.ndarray
    leak_shift: int
    threshold: np.ndarray
    spike_shift: int


class ParallelFiring(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False, tag="parallel_firing"):
    """HM-DF neuron without a membrane (fig. 2a): y = min(rshift(max(I - threshold, 0), spike_shift), 2^bits - 1)."""

    threshold: np.ndarray
    spike_shift: int


class LeakyIntegrateAndFire(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False, tag="leaky_integrate_and_fire"
):
    """Baseline: m as HybridFiring; y = [m >= threshold]; v <- m - y * threshold (soft reset)."""

    leak: np.ndarray
    leak_shift: int
    threshold: np.ndarray


class MultiHierarchical(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False, tag="multi_hierarchical"):
    """LM-H neuron: dendrite d and soma v, coupled.

    d <- clamp(rshift(dendrite_leak*d, s) + rshift(dendrite_feedback*v, s) + I), with v of the step before;
    m = clamp(rshift(soma_leak*v, s) + rshift(soma_drive*d, s));  y = [m >= threshold];  v <- m - y * threshold.
    """

    dendrite_leak: np.ndarray
    dendrite_feedback: np.ndarray
    soma_leak: np.ndarray
    soma_drive: np.ndarray
    leak_shift: int
    threshold: np.ndarray


class LookupTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False, tag="lookup_table"):
    """y = table[clamp(rshift(I, index_shift), -128, 127) + 128]; table: 256 messages."""

    table: np.ndarray
    index_shift: int


Dynamics = Relay | HybridFiring | ParallelFiring | LeakyIntegrateAndFire | MultiHierarchical | LookupTable


class Port(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False):
    """How a population takes in one accumulator or one message: rshift(multiplier[t,c] * in, shift).

    `multiplier`: signed 16 bit, shape (T or 1, C or 1).
    """

    source: str
    multiplier: np.ndarray
    shift: int


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False):
    """Scales the current by one message per channel: I = rshift(I * gate[c], shift) + bias[t,c].

    `source`: a population of shape (C,) or (C, 1, 1). `bias`: what the gate must not scale, shape (T or 1, C or 1).
    """

    source: str
    shift: int
    bias: np.ndarray


class Population(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False, tag="population"):
    """Neurons: take in currents, keep a state, send one message per neuron and time-step.

    Fields:
        shape: (C, H, W) or (F,).
        ports: summed; each source has the population's shape.
        bias: added to the sum of the ports, shape (T or 1, C or 1).
        gate: optional channel gate, applied after the bias.
        dynamics: what the neuron does with the current I.
        message: what it sends.
    """

    name: str
    shape: Shape
    ports: tuple[Port, ...]
    bias: np.ndarray
    dynamics: Dynamics
    message: Message
    gate: Gate | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.shape) not in (1, 3) or min(self.shape) < 1 or prod(self.shape) > MAX_ELEMENTS:
            raise ProgramError(f"population '{self.name}': shape must be (C, H, W) or (F,) (got {self.shape})")
        if not self.ports:
            raise ProgramError(f"population '{self.name}': has no port")
        freeze(self, "bias", self._parameter("bias", self.bias, 32))
        for port in self.ports:
            freeze(port, "multiplier", self._parameter(f"multiplier of port '{port.source}'", port.multiplier, 16))
            self._shift(f"shift of port '{port.source}'", port.shift)
        if self.gate is not None:
            freeze(self.gate, "bias", self._parameter("bias of the gate", self.gate.bias, 32))
            self._shift("shift of the gate", self.gate.shift)
        self._check_dynamics()

    def _check_dynamics(self) -> None:
        dynamics = self.dynamics
        for field in dynamics.__struct_fields__:
            value = getattr(dynamics, field)
            if field == "table":
                self._check_table(value)
            elif isinstance(value, np.ndarray):
                freeze(dynamics, field, self._parameter(field, value, 32 if field == "threshold" else 16))
            else:
                self._shift(field, value)
        spiking = isinstance(dynamics, HybridFiring | ParallelFiring | LeakyIntegrateAndFire | MultiHierarchical)
        if spiking and self.message.signed:
            raise ProgramError(f"population '{self.name}': spikes are unsigned, its message is signed")
        if isinstance(dynamics, LeakyIntegrateAndFire | MultiHierarchical) and np.any(dynamics.threshold < 0):
            raise ProgramError(f"population '{self.name}': a binary neuron's threshold must not be negative")

    def _check_table(self, table: np.ndarray) -> None:
        low, high = self.message.range
        if table.shape != (256,) or table.dtype.kind not in "iu":
            raise ProgramError(f"population '{self.name}': a table has 256 integers (got {table.dtype} {table.shape})")
        if table.min() < low or table.max() > high:
            raise ProgramError(f"population '{self.name}': a table entry is outside its message range [{low}, {high}]")
        freeze(self.dynamics, "table", table.astype(np.int32))

    def _parameter(self, what: str, array: np.ndarray, bits: int) -> np.ndarray:
        fits = array.ndim == 2 and array.shape[0] >= 1 and array.shape[1] in (1, self.shape[0])
        if array.dtype.kind not in "iu" or not fits:
            raise ProgramError(
                f"population '{self.name}': {what} must be integers of shape (T or 1, {self.shape[0]} or 1) "
                f"(got {array.dtype} {array.shape})"
            )
        low, high = integer_range(bits, signed=True)
        if array.min() < low or array.max() > high:
            worst = max(int(array.max()), -int(array.min()))
            raise ProgramError(f"population '{self.name}': {what} reaches {worst}, beyond signed {bits} bit")
        return array.astype(np.int16 if bits == 16 else np.int32)

    def _shift(self, what: str, value: int) -> None:
        if not 0 <= value <= 47:
            raise ProgramError(f"population '{self.name}': {what} must be in 0..47 (got {value})")

    def parameters(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every (T or 1, C or 1) array of the population with the name it has in messages to the user."""
        yield "bias", self.bias
        for port in self.ports:
            yield f"multiplier of port '{port.source}'", port.multiplier
        if self.gate is not None:
            yield "bias of the gate", self.gate.bias
        for field in self.dynamics.__struct_fields__:
            value = getattr(self.dynamics, field)
            if isinstance(value, np.ndarray) and field != "table":
                yield field, value


Node = Synapse | Population


def check_name(name: str) -> None:
    if len(name) > 200 or not _NAME.fullmatch(name) or name in (INPUT, "readout"):
        raise ProgramError(f"'{name[:60]}' is not a node name: letters, digits, '_', '.'; not '{INPUT}' or 'readout'")


def freeze(struct: msgspec.Struct, field: str, array: np.ndarray) -> None:
    frozen = np.ascontiguousarray(array)
    if frozen.flags.writeable:
        frozen = frozen.copy() if frozen is array else frozen
        frozen.setflags(write=False)
    msgspec.structs.force_setattr(struct, field, frozen)
