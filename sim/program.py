"""The one data structure: synapses (weights, no state) and populations (neurons, state, one message per step).

A `Program` is a directed graph in which the two alternate, acyclic but for synapses that read the step before. It is
everything an executor needs and nothing else; docs/numerics.md defines what it computes, docs/program-format.md how it
is stored.
"""

from __future__ import annotations

from functools import cached_property
from math import isfinite, prod
from typing import Literal

import msgspec
import numpy as np

from .arithmetic import integer_range
from .contract import INPUT, MAX_ELEMENTS, Message, Node, Population, Shape, Synapse
from .contract.struct import Contract, check_shape
from .errors import ProgramError
from .listing import listing
from .notebook import program_html
from .stored import digest_of, encode

MAX_STEPS = 4096


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From raw values to the normalised input, in float64: x = (raw / divisor - mean[c]) / std[c]."""

    divisor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not all(isfinite(v) for v in (self.divisor, *self.mean, *self.std)):
            raise ProgramError("preprocessing: mean and std need one finite value per channel each")
        if self.divisor <= 0 or min(self.std, default=0) <= 0:
            raise ProgramError("preprocessing: divisor and std must be positive")


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sample is: `constant` = one (C, H, W) array shown at every step, `frames` = one array per step."""

    shape: Shape
    message: Message
    timing: Literal["constant", "frames"]
    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        check_shape("input", self.shape)
        if len(self.preprocessing.mean) not in (1, self.shape[0]):
            raise ProgramError(
                f"input: preprocessing has {len(self.preprocessing.mean)} channels, the shape has {self.shape[0]}"
            )


class Readout(Contract):
    """logits[k] = sum over t of (accumulator of `source`[k] + bias[k]), int64; `scale`: real value of one unit."""

    source: str
    bias: np.ndarray
    scale: float

    def __post_init__(self) -> None:
        if self.bias.ndim != 1 or self.bias.dtype.kind not in "iu":
            raise ProgramError(f"readout: bias must be one integer per class (got {self.bias.dtype} {self.bias.shape})")
        if not (isfinite(self.scale) and self.scale > 0):
            raise ProgramError(f"readout: scale must be positive and finite (got {self.scale})")
        low, high = integer_range(48, signed=True)
        if self.bias.size and (self.bias.min() < low or self.bias.max() > high):
            raise ProgramError("readout: a bias is beyond signed 48 bit")
        self._freeze("bias", self.bias.astype(np.int64))


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a Program comes from. Nothing here changes an integer."""

    tool_version: str = ""
    network: str = ""
    target: str = ""
    source_sha256: str = ""
    data_set: str = ""
    class_names: tuple[str, ...] = ()
    calibration_data: str = ""
    calibration_samples: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.calibration_samples < 1 << 53:
            raise ProgramError(f"metadata: calibration_samples must be in 0..2^53 - 1 (got {self.calibration_samples})")


class Program(Contract, dict=True, weakref=True):
    """A network as integers: what is proven, stored, simulated and deployed.

    Attributes:
        time_steps: T, the steps every sample takes.
        state_bits: S, width of membranes and currents.
        accumulator_bits: A, width within which every synapse's accumulator is proven to stay.
        nodes: synapses and populations in topological order; a synapse with a delay may read a later population.
    """

    time_steps: int
    state_bits: int
    accumulator_bits: int
    input: Input
    nodes: tuple[Node, ...]
    readout: Readout
    metadata: Metadata = Metadata()

    def __post_init__(self) -> None:
        if not 1 <= self.time_steps <= MAX_STEPS:
            raise ProgramError(f"time_steps must be in 1..{MAX_STEPS} (got {self.time_steps})")
        for what in ("state_bits", "accumulator_bits"):
            if not 8 <= getattr(self, what) <= 32:
                raise ProgramError(f"{what} must be in 8..32 (got {getattr(self, what)})")
        self._check_graph()

    def _check_graph(self) -> None:
        shapes: dict[str, Shape] = {}
        seen: dict[str, Node | Input] = {INPUT: self.input}
        anywhere: dict[str, Node | Input] = {node.name: node for node in self.nodes}
        for node in self.nodes:
            if node.name in seen:
                raise ProgramError(f"two nodes are named '{node.name}'")
            if isinstance(node, Synapse):
                if node.delay:
                    source = _source(anywhere, node.name, node.source, (Population,), "a population", "is not there")
                else:
                    source = _source(seen, node.name, node.source, (Population, Input), "a population or the input")
                shapes[node.name] = node.output_shape(source.shape)  # type: ignore[union-attr]
                if prod(shapes[node.name]) > MAX_ELEMENTS:
                    raise ProgramError(f"synapse '{node.name}': accumulator of shape {shapes[node.name]} is too large")
            else:
                self._check_population(node, seen, shapes)
            seen[node.name] = node
        _source(seen, "readout", self.readout.source, (Synapse,), "a synapse")
        classes = shapes[self.readout.source]
        if len(classes) != 1 or self.readout.bias.shape not in ((1,), classes):
            raise ProgramError(
                f"readout: a bias of {self.readout.bias.shape} does not fit '{self.readout.source}' of shape {classes}"
            )
        if self.metadata.class_names and len(self.metadata.class_names) != classes[0]:
            raise ProgramError(f"metadata: {len(self.metadata.class_names)} class names for {classes[0]} classes")

    def _check_population(self, node: Population, seen: dict[str, Node | Input], shapes: dict[str, Shape]) -> None:
        for port in node.ports:
            source = _source(seen, node.name, port.source, (Synapse, Population, Input), "a node")
            shape = shapes[port.source] if isinstance(source, Synapse) else source.shape
            if shape != node.shape:
                raise ProgramError(f"population '{node.name}': shape {node.shape}, port '{port.source}' has {shape}")
        if node.gate is not None:
            gate = _source(seen, node.name, node.gate.source, (Population,), "a population")
            assert isinstance(gate, Population)
            if gate.shape[0] != node.shape[0] or prod(gate.shape) != node.shape[0]:
                raise ProgramError(
                    f"population '{node.name}': gate '{gate.name}' must have one value per channel, {node.shape[0]} "
                    f"(its shape is {gate.shape})"
                )
        limit = integer_range(self.state_bits, signed=True)
        for what, array, kind in node.parameters():
            if array.shape[0] not in (1, self.time_steps):
                raise ProgramError(
                    f"population '{node.name}': {what} has {array.shape[0]} steps, the program has {self.time_steps}"
                )
            if kind.within_state and (array.min() < limit[0] or array.max() > limit[1]):
                raise ProgramError(f"population '{node.name}': {what} is outside the {self.state_bits}-bit state")

    def __str__(self) -> str:
        return listing(self)

    def _repr_html_(self) -> str:
        return program_html(self)

    # ----------------------------------------------------------------- what executors ask

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def synapses(self) -> tuple[Synapse, ...]:
        return tuple(n for n in self.nodes if isinstance(n, Synapse))

    @cached_property
    def populations(self) -> tuple[Population, ...]:
        return tuple(n for n in self.nodes if isinstance(n, Population))

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every message and accumulator, "input" included."""
        sent = {INPUT: self.input.shape} | {population.name: population.shape for population in self.populations}
        shapes = {INPUT: self.input.shape}
        for node in self.nodes:
            shapes[node.name] = node.shape if isinstance(node, Population) else node.output_shape(sent[node.source])
        return shapes

    @cached_property
    def remembered(self) -> frozenset[str]:
        """The populations whose last message synapses with a delay read."""
        return frozenset(synapse.source for synapse in self.synapses if synapse.delay)

    @cached_property
    def classes(self) -> int:
        return self.shapes[self.readout.source][0]

    @property
    def input_steps(self) -> int:
        """How many arrays a sample has: 1 when the input is constant, T when it comes as frames."""
        return 1 if self.input.timing == "constant" else self.time_steps

    def message_of(self, name: str) -> Message:
        """The message a population, or "input", sends."""
        if name == INPUT:
            return self.input.message
        node = self.by_name[name]
        if not isinstance(node, Population):
            raise ProgramError(f"'{name}' is a synapse: it has an accumulator, not a message")
        return node.message

    def carries_spikes(self, synapse: Synapse) -> bool:
        """Whether a synapse is driven by spikes (counted as SOPs) or by a dense current (counted as MACs).

        Unsigned messages are spikes; signed ones, and an image shown at every step, are dense.
        """
        if synapse.source == INPUT and self.input.timing == "constant":
            return False
        return not self.message_of(synapse.source).signed

    @cached_property
    def sha256(self) -> str:
        """Digest of the stored form that `save` writes: two programs with the same digest are the same program."""
        return digest_of(*encode(self))


def _source(
    seen: dict[str, Node | Input],
    name: str,
    source: str,
    kinds: tuple[type, ...],
    wanted: str,
    missing: str = "does not come before it",
) -> Node | Input:
    found = seen.get(source)
    if found is None:
        raise ProgramError(f"'{name}' reads '{source}', which {missing}")
    if not isinstance(found, kinds):
        raise ProgramError(f"'{name}' reads '{source}', which is not {wanted}")
    return found
