"""The registry of networks: residual networks, VGG networks and a small one, with every kind of neuron.

    spec = NetworkSpec(name="small", input_shape=(1, 8, 8), classes=10)
    model = build(spec)

Each network's forward takes one time-step, (N, C, H, W) -> logits (N, classes), and can be traced by torch.fx with the
neurons, synapses and SECA as leaves.
"""

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .attention import SECA
from .errors import ModelError
from .neurons import (
    Activation,
    GradedSpike,
    HybridFiring,
    LeakyIntegrateAndFire,
    MultiHierarchical,
    Neuron,
    ParallelFiring,
    QuantisedActivation,
)
from .step_norm import StepBatchNorm2d
from .synapses import BinaryConv2d, BinaryLinear, TernaryConv2d, TernaryLinear

__all__ = ["NETWORKS", "NetworkSpec", "build"]

# tdBN's share of the threshold for each of the two currents that a residual block adds up.
SUMMAND = 0.5**0.5
# Far above any published network (10 to 20); bounds what a hostile description can make us build.
MAX_TIME_STEPS = 1024

CHOICES: dict[str, tuple[Any, ...]] = {
    "weights": ("ternary", "binary", "float"),
    "weight_scale": ("tensor", "channel", None),
    "neuron": ("plain", "mpbn", "parallel", "lif", "lm-h", "lm-h-radical", "qcfs"),
    "activation": get_args(Activation),
    "parallel": ("none", "second", "all"),
    "mpbn_on": ("all", "membrane"),
    "seca": ("none", "I", "II", "II-gate"),
    "stem": ("cifar", "imagenet"),
    "downsample": ("current", "spikes"),
    "pool": ("average", "max"),
    "norm": ("step", "each", "time"),
    "block": ("pre", "post", None),
    "head": ("pool", "linear", None),
}


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that determines a network's structure; plain values only, so that it travels in a checkpoint.

    Attributes:
        name: a key of NETWORKS.
        input_shape: (C, H, W) of one time-step.
        classes: number of logits.
        time_steps: T.
        width: channels of the stem; None is the network's own (64; resnet20 16, resnet19-wide 128, small 32).
        weights: ternary (1.5 bit), binary (1 bit) or float (full-precision) synapses.
        weight_scale: one scale per tensor or per output channel; None: per tensor for ternary, per channel for binary.
        neuron: plain (learnable leak and threshold), mpbn (with BatchNorm on the membrane), parallel (plain without
            membrane, the same as plain with parallel="all"), lif (binary spikes, the baseline), lm-h (binary spikes,
            dendrite and soma with factors per layer), lm-h-radical (factors per layer and step) or qcfs (no spikes:
            the activation of an ANN that `conversion` makes a network of LM-H neurons of).
        parallel: which neurons have no membrane: none, the second of each block (of each pair of layers in a VGG), all.
        mpbn_on: which neurons mpbn gives a BatchNorm: all, or those with a membrane alone, as HM-DF's fig. 2(c) with
            2(a) has it.
        spike_bits: 1..8, or None for real-valued spikes. LIF, LM-H and QCFS ignore all four options of spikes.
        spike_lsb: real value of one LSB of a spike.
        learn_lsb: learn that LSB, per neuron layer.
        activation: of quantised spikes: relu, clipped (no gradient above the largest message) or power-of-two.
        threshold: of LM-H neurons, which also is what their spike is worth; of QCFS, at the start of training. None is
            1 for LM-H and 8 for QCFS.
        initial_potential: of LM-H neurons' soma, in units of the threshold.
        surrogate_width: of LM-H neurons' triangle.
        levels: of QCFS: activations are threshold / levels times 0..levels.
        seca: channel attention on the current: none, I (eq. 8), II (eq. 9 as printed: the sum of the previous layer's
            current and this one, scaled) or II-gate (this current alone, scaled by what is computed from the sum).
            Where the shapes of the two differ, both are I.
        event: the input consists of events; the first convolution is then low-bit too.
        stem: of a residual network: cifar (3x3) or imagenet (7x7 stride 2, max-pool).
        downsample: the 1x1 convolution of a shortcut reads the real-valued current or the first neuron's spikes.
        pool: average or max, between the layers of small and the VGGs.
        norm: what BatchNorm normalises over in training: the batch at each step, with running statistics of all steps
            together (step) or of each step (each); or time and batch together (time: tdBN, Zheng 2021), whose gain then
            starts at the threshold, divided by sqrt(2) before the sum of a residual block.
        block: of a residual network: pre (neurons before the convolutions, on a real-valued stream) or post (conv, BN,
            and a neuron after the sum); None is the network's own: pre for resnet18 and resnet34, else post.
        head: of vgg13: pool (global average, one linear layer, as in HM-DF) or linear (three linear layers, as in
            LM-H); None is pool.
    """

    name: str
    input_shape: tuple[int, int, int]
    classes: int
    time_steps: int = 4
    width: int | None = None
    weights: Literal["ternary", "binary", "float"] = "ternary"
    weight_scale: Literal["tensor", "channel"] | None = None
    neuron: Literal["plain", "mpbn", "parallel", "lif", "lm-h", "lm-h-radical", "qcfs"] = "mpbn"
    parallel: Literal["none", "second", "all"] = "none"
    mpbn_on: Literal["all", "membrane"] = "all"
    spike_bits: int | None = 4
    spike_lsb: float = 0.25
    learn_lsb: bool = False
    activation: Activation = "relu"
    threshold: float | None = None
    initial_potential: float = 0.5
    surrogate_width: float = 1.0
    levels: int = 4
    seca: Literal["none", "I", "II", "II-gate"] = "none"
    event: bool = False
    stem: Literal["cifar", "imagenet"] = "cifar"
    downsample: Literal["current", "spikes"] = "current"
    pool: Literal["average", "max"] = "average"
    norm: Literal["step", "each", "time"] = "step"
    block: Literal["pre", "post"] | None = None
    head: Literal["pool", "linear"] | None = None

    def __post_init__(self) -> None:
        if self.name not in NETWORKS:
            raise ModelError(f"no network is called {self.name!r}{_nearest(self.name, NETWORKS)}; there are {_names()}")
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                options = ", ".join(str(choice) for choice in allowed)
                raise ModelError(f"network {field} must be one of {options} (got {getattr(self, field)!r})")
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        if len(self.input_shape) != 3 or not all(_is_positive_int(size) for size in self.input_shape):
            raise ModelError(f"network input_shape must be three positive integers C, H, W (got {self.input_shape})")
        for field in ("classes", "time_steps", "levels", "width"):
            value = getattr(self, field)
            if not (_is_positive_int(value) or (field == "width" and value is None)):
                raise ModelError(f"network {field} must be a positive integer (got {value!r})")
        if self.time_steps > MAX_TIME_STEPS:
            raise ModelError(f"network time_steps must be at most {MAX_TIME_STEPS} (got {self.time_steps})")
        if self.spike_bits is not None and not (_is_positive_int(self.spike_bits) and self.spike_bits <= 8):
            raise ModelError(f"network spike_bits must be 1..8 or None (got {self.spike_bits!r})")
        for field in ("spike_lsb", "threshold", "surrogate_width"):
            value = getattr(self, field)
            if not (_is_number(value) and value > 0) and not (field == "threshold" and value is None):
                raise ModelError(f"network {field} must be positive and finite (got {value!r})")
        if not _is_number(self.initial_potential):
            raise ModelError(f"network initial_potential must be a finite number (got {self.initial_potential!r})")
        if self.head is not None and self.name != "vgg13":
            raise ModelError(f"network head is chosen for vgg13 alone (got {self.head!r} for {self.name})")
        if self.neuron in ("lif", "lm-h", "lm-h-radical", "qcfs") and self.parallel != "none":
            raise ModelError(f"the {self.neuron} neuron has no parallel form (got parallel={self.parallel!r})")
        if self.neuron == "qcfs" and self.time_steps != 1:
            raise ModelError(f"a network of qcfs neurons has no time: time_steps must be 1 (got {self.time_steps})")

    def to_dict(self) -> dict[str, Any]:
        """Plain containers only."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NetworkSpec":
        """The inverse of to_dict; raises ModelError for unknown or missing keys and invalid values."""
        known = {field.name for field in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise ModelError(f"unknown network option {key!r}{_nearest(str(key), known)}")
        missing = {"name", "input_shape", "classes"} - set(values)
        if missing:
            raise ModelError(f"network description lacks {', '.join(sorted(missing))}")
        return cls(**values)


def build(spec: NetworkSpec) -> nn.Module:
    """The network that ``spec`` describes, freshly initialised from torch's global generator."""
    return NETWORKS[spec.name](_Parts(spec))


class _Parts:
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
            known = self._threshold(), spec.initial_potential, spec.surrogate_width
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


class CurrentLayer(nn.Module):
    """conv -> BN -> [SECA]: (spikes, previous layer's current or None) -> (current for the neuron, ungated current)."""

    def __init__(self, parts: _Parts, conv: nn.Conv2d, sums_currents: bool, share: float = 1.0) -> None:
        super().__init__()
        self.conv = conv
        self.norm = parts.norm(conv.out_channels, share)
        self.seca = parts.seca(conv.out_channels)
        self.sums_currents = sums_currents
        self.scales_sum = parts.spec.seca == "II"

    def forward(self, x: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        current = self.norm(self.conv(x))
        if self.seca is None:
            return current, current
        if self.sums_currents and previous is not None:
            total = previous + current
            return (self.seca(total) if self.scales_sum else self.seca(current, total)), current
        return self.seca(current), current

    def spikes(self, neuron: Neuron, x: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(spikes of ``neuron``, ungated current where a SECA may need it) for the same input as forward."""
        if self.seca is None:
            return neuron.after(self.norm, self.conv(x)), None
        gated, current = self(x, previous)
        return neuron(gated), current


class ResidualBlock(nn.Module):
    """Pre-activation block on a real-valued residual stream (fig. 2f when act2 is parallel):

    h = layer1(act1(x));  y = layer2(act2(h)) + shortcut

    The shortcut is x, or BN(conv1x1(x)), or BN(conv1x1(act1(x))) with downsample="spikes".
    """

    def __init__(self, parts: _Parts, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        same = stride == 1 and c_in == c_out
        second_kind = parts.sums_currents
        self.act1 = parts.neuron(c_in)
        self.layer1 = CurrentLayer(parts, parts.conv(c_in, c_out, 3, stride), second_kind and same)
        self.act2 = parts.neuron(c_out, second=True)
        self.layer2 = CurrentLayer(parts, parts.conv(c_out, c_out), second_kind, SUMMAND)
        self.shortcut = None if same else parts.shortcut(c_in, c_out, stride)
        self.shortcut_reads_spikes = parts.spec.downsample == "spikes"

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.act1(x)
        graded, current = self.layer1.spikes(self.act2, spikes, x)
        y, _ = self.layer2(graded, current)
        if self.shortcut is None:
            return y + x
        return y + self.shortcut(spikes if self.shortcut_reads_spikes else x)


class PostActivationBlock(nn.Module):
    """Block on spikes, with a neuron after the sum: y = act2(layer2(act1(layer1(x))) + shortcut).

    The shortcut is x, or BN(conv1x1(x)).
    """

    def __init__(self, parts: _Parts, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.layer1 = CurrentLayer(parts, parts.conv(c_in, c_out, 3, stride), False)
        self.act1 = parts.neuron(c_out)
        self.layer2 = CurrentLayer(parts, parts.conv(c_out, c_out), parts.sums_currents, SUMMAND)
        self.shortcut = None if stride == 1 and c_in == c_out else parts.shortcut(c_in, c_out, stride)
        self.act2 = parts.neuron(c_out, second=True)

    def forward(self, x: Tensor) -> Tensor:
        spikes, current = self.layer1.spikes(self.act1, x)
        y, _ = self.layer2(spikes, current)
        return self.act2(y + (x if self.shortcut is None else self.shortcut(x)))


class HiddenLayer(nn.Module):
    """Linear layer and neuron, (N, C_in) -> (N, C_out), with dropout before."""

    def __init__(self, parts: _Parts, c_in: int, c_out: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = parts.linear(c_in, c_out)
        self.act = parts.neuron(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.linear(self.dropout(x)))


class ResNet(nn.Module):
    """Stem, stages of residual blocks, average pool, hidden layers if any, classifier.

    The first stage keeps the image size, each further one halves it. The stem is a 3x3 convolution and a BatchNorm,
    with a neuron before post-activation blocks; with stem="imagenet" 7x7 of stride 2, then a 3x3 max-pool of stride 2.

    Args:
        stages: (channels, blocks) of each.
        hidden: sizes of hidden layers before the classifier.
        pool: average over so many pixels a side instead of the whole image, with dropout of a quarter behind it.
    """

    def __init__(
        self,
        parts: _Parts,
        width: int,
        stages: Sequence[tuple[int, int]],
        block: Literal["pre", "post"] = "post",
        hidden: Sequence[int] = (),
        pool: int | None = None,
    ) -> None:
        super().__init__()
        imagenet = parts.spec.stem == "imagenet"
        post = (parts.spec.block or block) == "post"
        kind = PostActivationBlock if post else ResidualBlock
        self.stem = parts.first_conv(width, 7, 2) if imagenet else parts.first_conv(width)
        self.stem_norm = parts.norm(width)
        self.stem_act = parts.neuron(width) if post else None
        self.stem_pool = nn.MaxPool2d(3, 2, 1) if imagenet else None
        made, channels = [], width
        for index, (c_out, depth) in enumerate(stages):
            first = kind(parts, channels, c_out, 1 if index == 0 else 2)
            made.append(nn.Sequential(first, *(kind(parts, c_out, c_out) for _ in range(depth - 1))))
            channels = c_out
        self.stages = nn.Sequential(*made)
        self.global_pool = nn.AdaptiveAvgPool2d(1) if pool is None else nn.AvgPool2d(pool)
        pixels = 1 if pool is None else _pixels_behind(parts.spec, len(stages), pool)
        self.hidden, inputs = _hidden(parts, channels * pixels, hidden, 0.0 if pool is None else 0.25)
        self.classifier = nn.Linear(inputs, parts.spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(x)) if self.stem_act is None else self.stem_act.after(self.stem_norm, self.stem(x))
        if self.stem_pool is not None:
            x = self.stem_pool(x)
        return self.classifier(self.hidden(torch.flatten(self.global_pool(self.stages(x)), 1)))


def _hidden(parts: _Parts, inputs: int, sizes: Sequence[int], dropout: float = 0.0) -> tuple[nn.Sequential, int]:
    """(hidden layers of these sizes, outputs of the last one); no module at all for none."""
    pairs = zip([inputs, *sizes], sizes, strict=False)
    layers = nn.Sequential(*(HiddenLayer(parts, c_in, c_out, dropout) for c_in, c_out in pairs))
    return layers, sizes[-1] if sizes else inputs


def _pixels_behind(spec: NetworkSpec, stages: int, pool: int) -> int:
    """Of an image behind the stages of a residual network, of which all but the first halve it, and a pool."""
    halvings = stages - 1 + (2 if spec.stem == "imagenet" else 0)
    pixels = math.prod(-(-length // 2**halvings) // pool for length in spec.input_shape[1:])
    if pixels == 0:
        raise ModelError(f"{spec.name} pools an input of {spec.input_shape} down to nothing")
    return pixels


class VGGLayer(nn.Module):
    """conv -> BN -> [SECA] -> neuron -> [pool]: (spikes, previous current) -> (spikes, ungated current)."""

    def __init__(self, currents: CurrentLayer, act: Neuron, pool: nn.Module | None) -> None:
        super().__init__()
        self.currents = currents
        self.act = act
        self.pool = pool

    def forward(self, x: Tensor, previous: Tensor | None) -> tuple[Tensor, Tensor | None]:
        spikes, current = self.currents.spikes(self.act, x, previous)
        return (spikes if self.pool is None else self.pool(spikes)), current


class VGG(nn.Module):
    """A chain of VGGLayers and a classifier on the last spikes.

    ``layout`` has one (channels in units of the width, pool) per layer; pool is "" (none), "M" (2x2) or "G" (global
    average). ``hidden`` are the sizes of linear layers with neurons before the classifier.
    """

    def __init__(
        self, parts: _Parts, layout: Sequence[tuple[int, str]], width: int, hidden: Sequence[int] = ()
    ) -> None:
        super().__init__()
        channels, *size = parts.spec.input_shape
        self.layers = nn.ModuleList()
        pool_before = ""
        for units, pool in layout:
            c_out = width * units
            conv = parts.conv(channels, c_out) if len(self.layers) else parts.first_conv(c_out)
            same_shape = channels == c_out and not pool_before and len(self.layers) > 0
            currents = CurrentLayer(parts, conv, parts.sums_currents and same_shape)
            act = parts.neuron(c_out, second=len(self.layers) % 2 == 1)
            self.layers.append(VGGLayer(currents, act, self._pool(parts, pool)))
            channels, pool_before = c_out, pool
            size = {"": size, "M": [length // 2 for length in size], "G": [min(length, 1) for length in size]}[pool]
        if 0 in size:
            raise ModelError(f"{parts.spec.name} pools an input of {parts.spec.input_shape} down to nothing")
        self.hidden, inputs = _hidden(parts, channels * size[0] * size[1], hidden)
        self.classifier = nn.Linear(inputs, parts.spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        previous = None
        for layer in self.layers:
            x, previous = layer(x, previous)
        return self.classifier(self.hidden(torch.flatten(x, 1)))

    @staticmethod
    def _pool(parts: _Parts, pool: str) -> nn.Module | None:
        if pool == "G":
            return nn.AdaptiveAvgPool2d(1)
        return parts.pool() if pool == "M" else None


class SmallNet(nn.Module):
    """Stem, one residual block, pool, one more convolution, global average pool, classifier; for 8x8 to 32x32 inputs.

    The stem has stride 2 for inputs larger than 16 pixels.
    """

    def __init__(self, parts: _Parts) -> None:
        super().__init__()
        width = parts.width(32)
        stride = 2 if max(parts.spec.input_shape[1:]) > 16 else 1
        self.stem = parts.first_conv(width, 3, stride)
        self.stem_norm = parts.norm(width)
        self.block = ResidualBlock(parts, width, width)
        self.act3 = parts.neuron(width)
        self.pool = parts.pool()
        self.layer3 = CurrentLayer(parts, parts.conv(width, 2 * width), False)
        self.act4 = parts.neuron(2 * width, second=True)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(2 * width, parts.spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.stem_norm(self.stem(x)))
        graded, _ = self.layer3.spikes(self.act4, self.pool(self.act3(x)))
        pooled = self.global_pool(graded)
        return self.classifier(torch.flatten(pooled, 1))


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _names() -> str:
    return ", ".join(sorted(NETWORKS))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _resnet18(parts: _Parts) -> ResNet:
    width = parts.width(64)
    return ResNet(parts, width, [(width * 2**stage, 2) for stage in range(4)], "pre")


def _resnet34(parts: _Parts) -> ResNet:
    width = parts.width(64)
    return ResNet(parts, width, [(width * 2**stage, blocks) for stage, blocks in enumerate((3, 4, 6, 3))], "pre")


def _resnet20(parts: _Parts) -> ResNet:
    width = parts.width(16)
    return ResNet(parts, width, [(width * 2**stage, 3) for stage in range(3)])


def _resnet19(parts: _Parts) -> ResNet:
    width = parts.width(64)
    return ResNet(parts, width, [(2 * width, 3), (4 * width, 3), (8 * width, 2)], hidden=[4 * width])


def _resnet19_wide(parts: _Parts) -> ResNet:
    width = parts.width(128)
    return ResNet(parts, width, [(width, 3), (2 * width, 3), (4 * width, 2)], hidden=[2 * width], pool=2)


def _vgg13(parts: _Parts) -> VGG:
    return _vgg_of(parts, 2, 2, 2, 2, 2) if parts.spec.head == "linear" else VGG(parts, VGG13, parts.width(64))


def _vgg_of(parts: _Parts, *depths: int) -> VGG:
    """Stages of so many convolutions with a pool behind each, and three linear layers."""
    width = parts.width(64)
    stages = zip((1, 2, 4, 8, 8), depths, strict=True)
    layout = [(units, "M" if number == depth else "") for units, depth in stages for number in range(1, depth + 1)]
    return VGG(parts, layout, width, hidden=[64 * width, 64 * width])


# Units of the width, and pools, of the networks of HM-DF.
VGG13 = ((1, ""), (1, "M"), (2, ""), (2, "M"), (4, ""), (4, "M"), (8, ""), (8, ""), (8, "M"), (8, "G"))
VGG_SNN = ((1, ""), (2, "M"), (4, ""), (4, "M"), (8, ""), (8, "M"), (8, ""), (8, "M"))

# name -> maker; the widths are those of the published networks
NETWORKS: dict[str, Callable[[_Parts], nn.Module]] = {
    "small": SmallNet,
    "resnet18": _resnet18,
    "resnet19": _resnet19,
    "resnet19-wide": _resnet19_wide,
    "resnet20": _resnet20,
    "resnet34": _resnet34,
    "vgg13": _vgg13,
    "vgg16": lambda parts: _vgg_of(parts, 2, 2, 3, 3, 3),
    "vgg-snn": lambda parts: VGG(parts, VGG_SNN, parts.width(64)),
}
