"""The registry of networks: residual networks, VGG networks and a small one, with every kind of neuron.

    spec = NetworkSpec(name="small", input_shape=(1, 8, 8), classes=10)
    model = build(spec)

Each network's forward takes one time-step, (N, C, H, W) -> logits (N, classes), and can be traced by torch.fx with the
neurons, synapses and SECA as leaves. A family of networks is a file, with the names of its members.
"""

from torch import nn

from .parts import Parts
from .registry import NETWORKS
from .spec import NetworkSpec

__all__ = ["NETWORKS", "NetworkSpec", "build"]


def build(spec: NetworkSpec) -> nn.Module:
    """The network that ``spec`` describes, freshly initialised from torch's global generator."""
    return NETWORKS[spec.name](Parts(spec))
