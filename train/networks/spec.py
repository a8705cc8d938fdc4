"""What determines a network's structure."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import ModelError
from ..neurons import Activation
from .registry import NETWORKS

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
        surrogate_width: of LM-H neurons' triangle, in the units of their membrane, whatever the threshold is.
        learn_factors: of LM-H neurons; else they stay as they start, integrate-and-fire.
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
    learn_factors: bool = True
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
        for field in ("learn_lsb", "learn_factors"):
            if not isinstance(getattr(self, field), bool):
                raise ModelError(f"network {field} must be true or false (got {getattr(self, field)!r})")
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


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _names() -> str:
    return ", ".join(sorted(NETWORKS))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
