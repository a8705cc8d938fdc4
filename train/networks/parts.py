"""The parts of a network, made as its spec asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ..attention import SECA
from ..neurons import (
    GradedSpike,
    HybridFiring,
    LeakyIntegrateAndFire,
    MultiHierarchical,
    Neuron,
    ParallelFiring,
    QuantisedActivation,
)
from ..step_norm import StepBatchNorm2d
from ..synapses import BinaryConv2d, BinaryLinear, TernaryConv2d, TernaryLinear

if TYPE_CHECKING:
    from .spec import NetworkSpec

# tdBN's share of the threshold for each of the two currents that a residual block adds up.
SUMMAND = 0.5**0.5


class Parts:
    """Makes the parts of one network as its spec asks."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec

    def width(self, default: int) -> int:
        return default if self.spec.width is None else self.spec.width

    def neuron(self, channels: int, second: bool = False) -> Neuron:
        """A neuron layer; ``second`` marks the ones that parallel="second" frees of their membrane."""
        spec = self.spec
        if spec.neuron == "lif":
            return LeakyIntegrateAndFire(channels, spec.time_steps)
        if spec.neuron == "qcfs":
            return QuantisedActivation(channels, spec.levels, self._threshold())
        if spec.neuron in ("lm-h", "lm-h-radical"):
            known = self._threshold(), spec.initial_potential, spec.surrogate_width, spec.learn_factors
            return MultiHierarchical(channels, spec.time_steps, spec.neuron == "lm-h-radical", *known)
        spike = GradedSpike(spec.spike_bits, spec.spike_lsb, spec.learn_lsb, spec.activation)
        parallel = spec.neuron == "parallel" or spec.parallel == "all" or (spec.parallel == "second" and second)
        kind = ParallelFiring if parallel else HybridFiring
        mpbn = spec.neuron == "mpbn" and not (parallel and spec.mpbn_on == "membrane")
        return kind(channels, spec.time_steps, mpbn=mpbn, spike=spike)

    def conv(self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
        """A convolution of the synapses' kind that keeps the image size at stride 1."""
        if self.spec.weights == "float":
            return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        kind = TernaryConv2d if self.spec.weights == "ternary" else BinaryConv2d
        return kind(c_in, c_out, kernel, stride, kernel // 2, scale_per=self.spec.weight_scale)

    def linear(self, c_in: int, c_out: int) -> nn.Linear:
        """A linear layer of the synapses' kind, with a bias, since no BatchNorm follows."""
        if self.spec.weights == "float":
            return nn.Linear(c_in, c_out)
        kind = TernaryLinear if self.spec.weights == "ternary" else BinaryLinear
        return kind(c_in, c_out, bias=True, scale_per=self.spec.weight_scale)

    def first_conv(self, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
        """The convolution that reads the input: full precision for images, low-bit for events."""
        c_in = self.spec.input_shape[0]
        if self.spec.event:
            return self.conv(c_in, c_out, kernel, stride)
        return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)

    def norm(self, channels: int, share: float = 1.0) -> nn.Module:
        """The BatchNorm of a current; ``share`` of the threshold is where tdBN's gain starts."""
        if self.spec.norm == "each":
            return StepBatchNorm2d(channels, self.spec.time_steps)
        norm = nn.BatchNorm2d(channels)
        if self.spec.norm == "time":
            nn.init.constant_(norm.weight, share * self._threshold())
        return norm

    def shortcut(self, c_in: int, c_out: int, stride: int) -> nn.Module:
        """The 1x1 convolution beside a block that changes the shape, and its BatchNorm."""
        return nn.Sequential(self.conv(c_in, c_out, 1, stride), self.norm(c_out, SUMMAND))

    def _threshold(self) -> float:
        """At the start of training."""
        chosen, known = self.spec.threshold, {"lm-h": 1.0, "lm-h-radical": 1.0, "qcfs": 8.0}
        default = known.get(self.spec.neuron, 0.5)
        return chosen if chosen is not None and self.spec.neuron in known else default

    def seca(self, channels: int) -> SECA | None:
        return None if self.spec.seca == "none" else SECA(channels)

    @property
    def sums_currents(self) -> bool:
        """Whether attention looks at the sum of two currents, where their shapes match."""
        return self.spec.seca in ("II", "II-gate")

    def pool(self) -> nn.Module:
        return nn.AvgPool2d(2) if self.spec.pool == "average" else nn.MaxPool2d(2)
