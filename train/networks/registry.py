"""All networks by name."""

from collections.abc import Callable, Mapping

from torch import nn

from . import resnet, small, vgg
from .parts import Parts

NETWORKS: Mapping[str, Callable[[Parts], nn.Module]] = {**small.NETWORKS, **resnet.NETWORKS, **vgg.NETWORKS}
"""By name, what makes it; the widths are those of the published networks."""
