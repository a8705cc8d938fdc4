"""The two graphs between a module and a Program; plain data, float64 NumPy arrays.

`LayerGraph` (made by `trace`) has a node for every layer of the network as the user wrote it. `FoldedGraph` (made by
`fold`) is the canonical form: synapses and populations alternate, every normalisation is folded into the ports, and
it mirrors the Program field by field, with real values where the Program has integers.

Parameters that may differ per time-step and per channel have the shape (T or 1, C or 1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import Conv2d, Linear, MaxPool, Message, Op, Shape, SumPool
from hmdf.sim.contract.dynamics import BaseDynamics

if TYPE_CHECKING:
    from torch import Tensor

    from .integers import ChosenIntegers, Settled

Array = NDArray[np.float64]
Pass = Literal["trace", "fold", "merge_pools", "quantize", "serialize", "absorb"]
"""The passes that make a graph or a Program, in order."""

# ------------------------------------------------------------------- layers, as written


@dataclass(frozen=True)
class Layer:
    """One layer of the network: its value at a time-step has `shape`; it reads the layers `sources`, in this order."""

    name: str
    shape: Shape
    sources: tuple[str, ...]


@dataclass(frozen=True)
class InputLayer(Layer):
    """What the network reads at one time-step."""


@dataclass(frozen=True)
class WeightLayer(Layer):
    """A convolution or linear layer: scale[o] * (weight * source) + bias[o].

    The op's weight: integers when its bits are 1 or 2, else real (0 bits) with scale 1.
    """

    op: Conv2d | Linear
    scale: Array
    bias: Array


@dataclass(frozen=True)
class PoolLayer(Layer):
    """`op` (sum or max pooling) times `factor`: average pooling is sum pooling with factor 1 / window."""

    op: SumPool | MaxPool
    factor: float


@dataclass(frozen=True)
class NormLayer(Layer):
    """gain[c] * x + offset[c]: BatchNorm with its running statistics, or arithmetic with constants; or gain[t, c] and
    offset[t, c].
    """

    gain: Array
    offset: Array


@dataclass(frozen=True)
class SumLayer(Layer):
    """The sum of two or more layers of one shape."""


@dataclass(frozen=True)
class SliceLayer(Layer):
    """As many channels of the source as `shape` has, from `start` on."""

    start: int


@dataclass(frozen=True)
class ConcatLayer(Layer):
    """Layers stacked along the channels."""


@dataclass(frozen=True)
class FlattenLayer(Layer):
    """(C, H, W) -> (C * H * W,)."""


@dataclass(frozen=True)
class BeforeLayer(Layer):
    """What its source, a layer of binary neurons anywhere in the network, gave at the step before; 0 at the first."""


@dataclass(frozen=True)
class MembraneNorm:
    """MPBN (eq. 5): m^_t = alpha_t m + beta_t (gamma (m - mean) / sqrt(variance + eps) + shift).

    alpha, beta: (T,). gamma, mean, variance, shift: (T, C).
    """

    alpha: Array
    beta: Array
    gamma: Array
    mean: Array
    variance: Array
    shift: Array
    eps: float


@dataclass(frozen=True)
class FiringLayer(Layer):
    """A layer of neurons; `norm` is applied to the membrane before it is compared with the threshold."""

    neuron: FloatDynamics
    norm: MembraneNorm | None


@dataclass(frozen=True)
class AttentionLayer(Layer):
    """SECA (eq. 8, 9): x * sigmoid(taps over the channels of mean_{H,W}(pooled from) + bias).

    `sources`: x and what is pooled.
    """

    taps: Array
    bias: float


@dataclass(frozen=True)
class LayerGraph:
    """Layers in topological order, but for those that a BeforeLayer reads; `output`: the last of the computation."""

    time_steps: int
    layers: tuple[Layer, ...]
    output: str

    @cached_property
    def readers(self) -> Mapping[str, tuple[Layer, ...]]:
        """By layer, the layers that read it; one that reads it twice is there twice."""
        return _readers(self.layers)


# ------------------------------------------------------------------- neurons in floats


class AtStep(Protocol):
    """Row t of a (T or 1, C or 1) parameter as a tensor that broadcasts over (N, *shape)."""

    def __call__(self, parameter: Array) -> Tensor: ...


class Fired(NamedTuple):
    """What neurons did at one time-step.

    Attributes:
        membrane: before the reset; of several states the larger magnitude.
        state: what they keep, in the order of the kind's facts.
    """

    message: Tensor
    membrane: Tensor
    state: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class FloatDynamics(ABC):
    """What a population does with its current, in real values; one file per kind in `neurons/`."""

    integer: ClassVar[type[BaseDynamics]]
    """The kind in the Program, whose facts hold here too."""
    passes_on: ClassVar[bool] = False
    """Whether its message is its current."""

    @property
    def trained_bits(self) -> int | None:
        """Bits to which training quantised its graded spikes; None where it did not, or where there are none."""
        return None

    @property
    def only_message(self) -> Message | None:
        """What it sends whatever the calibration: spikes of a binary neuron. None for others."""
        return None

    def normalised(self, a: Array) -> Self:
        """The neurons whose membrane is a (T or 1, C or 1) times as large at each step: a lambda of eq. 7."""
        return replace(self, **{leak: a * getattr(self, leak) for leak in self.integer.facts.leaks})

    def initial_state(self) -> Mapping[str, Array]:
        """By state, its value before the first step, (1, C or 1); of a state that is left out 0."""
        return {}

    @abstractmethod
    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        """One time-step of N samples: current and each state (N, *shape); () before the first step."""

    @abstractmethod
    def to_integers(self, node: FoldedPopulation, settled: Settled) -> ChosenIntegers:
        """The population in integers, when everything before it is settled."""


# ------------------------------------------------------------------------ canonical form


@dataclass(frozen=True)
class FoldedSynapse:
    """sum w * message, with a delay of 1 that of the step before. The op's weight: integer-valued for 1 or 2 bits, real
    for 0 bits."""

    name: str
    shape: Shape
    source: str
    op: Op
    delay: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)


@dataclass(frozen=True)
class FoldedPort:
    """gain[t, c] * (accumulator or message) of `source`."""

    source: str
    gain: Array


@dataclass(frozen=True)
class FoldedGate:
    """I = I * gate[c] + bias[t, c]."""

    source: str
    bias: Array


@dataclass(frozen=True)
class FoldedPopulation:
    """The Population of the Program in real values."""

    name: str
    shape: Shape
    ports: tuple[FoldedPort, ...]
    bias: Array
    dynamics: FloatDynamics
    gate: FoldedGate | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        return (*(port.source for port in self.ports), *(() if self.gate is None else (self.gate.source,)))


FoldedNode = FoldedSynapse | FoldedPopulation


@dataclass(frozen=True)
class FoldedGraph:
    """Canonical form. logits = sum over t of (readout_gain[k] * accumulator of `readout` + readout_bias[k])."""

    time_steps: int
    input_shape: Shape
    nodes: tuple[FoldedNode, ...]
    readout: str
    readout_gain: Array
    readout_bias: Array

    @cached_property
    def by_name(self) -> Mapping[str, FoldedNode]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def readers(self) -> Mapping[str, tuple[FoldedNode, ...]]:
        """By node, or "input", the nodes that read it; one that reads it twice is there twice."""
        return _readers(self.nodes)

    @property
    def synapses(self) -> tuple[FoldedSynapse, ...]:
        return tuple(n for n in self.nodes if isinstance(n, FoldedSynapse))

    @property
    def populations(self) -> tuple[FoldedPopulation, ...]:
        return tuple(n for n in self.nodes if isinstance(n, FoldedPopulation))

    @property
    def readout_classes(self) -> int:
        return self.by_name[self.readout].shape[0]


_Node = TypeVar("_Node", Layer, FoldedNode)


def _readers(nodes: Iterable[_Node]) -> Mapping[str, tuple[_Node, ...]]:
    found: defaultdict[str, tuple[_Node, ...]] = defaultdict(tuple)
    for node in nodes:
        for source in node.sources:
            found[source] += (node,)
    return found
