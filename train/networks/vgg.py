"""Chains of convolutions: VGG-13, VGG-16 and VGG-SNN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..neurons import Neuron
from .layers import CurrentLayer, hidden_layers
from .parts import Parts

# Units of the width, and pools, of the networks of HM-DF.
VGG13 = ((1, ""), (1, "M"), (2, ""), (2, "M"), (4, ""), (4, "M"), (8, ""), (8, ""), (8, "M"), (8, "G"))
VGG_SNN = ((1, ""), (2, "M"), (4, ""), (4, "M"), (8, ""), (8, "M"), (8, ""), (8, "M"))


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

    def __init__(self, parts: Parts, layout: Sequence[tuple[int, str]], width: int, hidden: Sequence[int] = ()) -> None:
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
        self.hidden, inputs = hidden_layers(parts, channels * size[0] * size[1], hidden)
        self.classifier = nn.Linear(inputs, parts.spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        previous = None
        for layer in self.layers:
            x, previous = layer(x, previous)
        return self.classifier(self.hidden(torch.flatten(x, 1)))

    @staticmethod
    def _pool(parts: Parts, pool: str) -> nn.Module | None:
        if pool == "G":
            return nn.AdaptiveAvgPool2d(1)
        return parts.pool() if pool == "M" else None


def _vgg13(parts: Parts) -> VGG:
    return _vgg_of(parts, 2, 2, 2, 2, 2) if parts.spec.head == "linear" else VGG(parts, VGG13, parts.width(64))


def _vgg_of(parts: Parts, *depths: int) -> VGG:
    """Stages of so many convolutions with a pool behind each, and three linear layers."""
    width = parts.width(64)
    stages = zip((1, 2, 4, 8, 8), depths, strict=True)
    layout = [(units, "M" if number == depth else "") for units, depth in stages for number in range(1, depth + 1)]
    return VGG(parts, layout, width, hidden=[64 * width, 64 * width])


NETWORKS = {
    "vgg13": _vgg13,
    "vgg16": lambda parts: _vgg_of(parts, 2, 2, 3, 3, 3),
    "vgg-snn": lambda parts: VGG(parts, VGG_SNN, parts.width(64)),
}
