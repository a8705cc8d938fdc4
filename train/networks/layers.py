"""Layers that all networks are made of."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..neurons import Neuron
from .parts import Parts


class CurrentLayer(nn.Module):
    """conv -> BN -> [SECA]: (spikes, previous layer's current or None) -> (current for the neuron, ungated current)."""

    def __init__(self, parts: Parts, conv: nn.Conv2d, sums_currents: bool, share: float = 1.0) -> None:
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


class HiddenLayer(nn.Module):
    """Linear layer and neuron, (N, C_in) -> (N, C_out), with dropout before."""

    def __init__(self, parts: Parts, c_in: int, c_out: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = parts.linear(c_in, c_out)
        self.act = parts.neuron(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.linear(self.dropout(x)))


def hidden_layers(parts: Parts, inputs: int, sizes: Sequence[int], dropout: float = 0.0) -> tuple[nn.Sequential, int]:
    """(hidden layers of these sizes, outputs of the last one); no module at all for none."""
    pairs = zip([inputs, *sizes], sizes, strict=False)
    layers = nn.Sequential(*(HiddenLayer(parts, c_in, c_out, dropout) for c_in, c_out in pairs))
    return layers, sizes[-1] if sizes else inputs
