"""Residual networks, with neurons before the convolutions or behind the sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .layers import CurrentLayer, hidden_layers
from .parts import SUMMAND, Parts

if TYPE_CHECKING:
    from .spec import NetworkSpec


class ResidualBlock(nn.Module):
    """Pre-activation block on a real-valued residual stream (fig. 2f when act2 is parallel):

    h = layer1(act1(x));  y = layer2(act2(h)) + shortcut

    The shortcut is x, or BN(conv1x1(x)), or BN(conv1x1(act1(x))) with downsample="spikes".
    """

    def __init__(self, parts: Parts, c_in: int, c_out: int, stride: int = 1) -> None:
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

    def __init__(self, parts: Parts, c_in: int, c_out: int, stride: int = 1) -> None:
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
        parts: Parts,
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
        self.hidden, inputs = hidden_layers(parts, channels * pixels, hidden, 0.0 if pool is None else 0.25)
        self.classifier = nn.Linear(inputs, parts.spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(x)) if self.stem_act is None else self.stem_act.after(self.stem_norm, self.stem(x))
        if self.stem_pool is not None:
            x = self.stem_pool(x)
        return self.classifier(self.hidden(torch.flatten(self.global_pool(self.stages(x)), 1)))


def _pixels_behind(spec: NetworkSpec, stages: int, pool: int) -> int:
    """Of an image behind the stages of a residual network, of which all but the first halve it, and a pool."""
    halvings = stages - 1 + (2 if spec.stem == "imagenet" else 0)
    pixels = math.prod(-(-length // 2**halvings) // pool for length in spec.input_shape[1:])
    if pixels == 0:
        raise ModelError(f"{spec.name} pools an input of {spec.input_shape} down to nothing")
    return pixels


def _resnet18(parts: Parts) -> ResNet:
    width = parts.width(64)
    return ResNet(parts, width, [(width * 2**stage, 2) for stage in range(4)], "pre")


def _resnet34(parts: Parts) -> ResNet:
    width = parts.width(64)
    return ResNet(parts, width, [(width * 2**stage, blocks) for stage, blocks in enumerate((3, 4, 6, 3))], "pre")


def _resnet20(parts: Parts) -> ResNet:
    width = parts.width(16)
    return ResNet(parts, width, [(width * 2**stage, 3) for stage in range(3)])


def _resnet19(parts: Parts) -> ResNet:
    width = parts.width(64)
    return ResNet(parts, width, [(2 * width, 3), (4 * width, 3), (8 * width, 2)], hidden=[4 * width])


def _resnet19_wide(parts: Parts) -> ResNet:
    width = parts.width(128)
    return ResNet(parts, width, [(width, 3), (2 * width, 3), (4 * width, 2)], hidden=[2 * width], pool=2)


NETWORKS = {
    "resnet18": _resnet18,
    "resnet19": _resnet19,
    "resnet19-wide": _resnet19_wide,
    "resnet20": _resnet20,
    "resnet34": _resnet34,
}
