"""The two graphs between a module and a Program; plain data, float64 NumPy arrays.

`LayerGraph` (made by `trace`) has a node for every layer of the network as the user wrote it. `FoldedGraph` (made by
`fold`) is the canonical form: synapses and populations alternate, every normalisation is folded into the ports, and
it mirrors the Program field by field, with real values where the Program has integers.

Parameters that may differ per time-step and per channel have the shape (T or 1, C or 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import Op, Pool, Shape, WeightedOp

Array = NDArray[np.float64]
FiringKind = Literal["hybrid", "parallel", "lif"]

# ------------------------------------------------------------------- layers, as written


@dataclass(frozen=True)
class InputLayer:
    """What the network reads at one time-step."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class WeightLayer:
    """A convolution or linear layer: scale[o] * (weight * source) + bias[o].

    The op's weight: integers when its bits are 1 or 2, else real (0 bits) with scale 1.
    """

    name: str
    shape: Shape
    source: str
    op: WeightedOp
    scale: Array
    bias: Array


@dataclass(frozen=True)
class PoolLayer:
    """`op` (sum or max pooling) times `factor`: average pooling is sum pooling with factor 1 / window."""

    name: str
    shape: Shape
    source: str
    op: Pool
    factor: float


@dataclass(frozen=True)
class NormLayer:
    """gain[c] * x + offset[c]: BatchNorm with its running statistics."""

    name: str
    shape: Shape
    source: str
    gain: Array
    offset: Array


@dataclass(frozen=True)
class SumLayer:
    """The sum of two or more layers of one shape."""

    name: str
    shape: Shape
    sources: tuple[str, ...]


@dataclass(frozen=True)
class SliceLayer:
    """Channels start..stop of the source."""

    name: str
    shape: Shape
    source: str
    start: int


@dataclass(frozen=True)
class ConcatLayer:
    """Layers stacked along the channels."""

    name: str
    shape: Shape
    sources: tuple[str, ...]


@dataclass(frozen=True)
class FlattenLayer:
    """(C, H, W) -> (C*H*W,)."""

    name: str
    shape: Shape
    source: str


@dataclass(frozen=True)
class SpikeFormat:
    """The training-time quantiser of a graded spike: unsigned, `bits` bits, LSB worth `lsb`."""

    bits: int
    lsb: float


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
class FiringLayer:
    """A layer of neurons: leak and threshold (T,); `spike` None means spikes that are not quantised."""

    name: str
    shape: Shape
    source: str
    kind: FiringKind
    leak: Array
    threshold: Array
    norm: MembraneNorm | None
    spike: SpikeFormat | None


@dataclass(frozen=True)
class AttentionLayer:
    """SECA (eq. 8, 9): source * sigmoid(taps over the channels of mean_{H,W}(pooled_from) + bias)."""

    name: str
    shape: Shape
    source: str
    pooled_from: str
    taps: Array
    bias: float


Layer = (
    InputLayer
    | WeightLayer
    | PoolLayer
    | NormLayer
    | SumLayer
    | SliceLayer
    | ConcatLayer
    | FlattenLayer
    | FiringLayer
    | AttentionLayer
)


@dataclass(frozen=True)
class LayerGraph:
    """Layers in topological order; the last entry of the computation is `output`."""

    time_steps: int
    layers: tuple[Layer, ...]
    output: str


# ------------------------------------------------------------------------ canonical form


@dataclass(frozen=True)
class FoldedSynapse:
    """sum w * message. The op's weight: integer-valued for 1 or 2 bits, real for 0 bits."""

    name: str
    shape: Shape
    source: str
    op: Op


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
class FoldedRelay:
    """y = I."""


@dataclass(frozen=True)
class FoldedFiring:
    """m = leak v + I; s = ReLU(m - threshold) (hybrid, parallel) or [m >= threshold] (lif).

    leak, threshold: (T or 1, C or 1).
    """

    kind: FiringKind
    leak: Array
    threshold: Array
    spike: SpikeFormat | None


@dataclass(frozen=True)
class FoldedSigmoid:
    """y = 1 / (1 + exp(-I))."""


@dataclass(frozen=True)
class FoldedPopulation:
    """The Population of the Program in real values."""

    name: str
    shape: Shape
    ports: tuple[FoldedPort, ...]
    bias: Array
    dynamics: FoldedRelay | FoldedFiring | FoldedSigmoid
    gate: FoldedGate | None = None


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

    @property
    def readout_classes(self) -> int:
        return next(node.shape[0] for node in self.nodes if node.name == self.readout)
