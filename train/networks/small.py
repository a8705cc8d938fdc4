"""The small network, for tests and small images."""

import torch
from torch import Tensor, nn

from .layers import CurrentLayer
from .parts import Parts
from .resnet import ResidualBlock


class SmallNet(nn.Module):
    """Stem, one residual block, pool, one more convolution, global average pool, classifier; for 8x8 to 32x32 inputs.

    The stem has stride 2 for inputs larger than 16 pixels.
    """

    def __init__(self, parts: Parts) -> None:
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


NETWORKS = {"small": SmallNet}
