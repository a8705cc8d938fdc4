import pytest
import torch

from hmdf.train.attention import SECA
from hmdf.train.errors import ModelError
from hmdf.train.networks import NetworkSpec
from hmdf.train.networks.layers import CurrentLayer
from hmdf.train.networks.parts import Parts

GENERATOR = torch.Generator().manual_seed(0)
CURRENT = torch.randn(2, 7, 3, 4, generator=GENERATOR)
PREVIOUS = torch.randn(2, 7, 3, 4, generator=GENERATOR)


def gate_by_hand(seca: SECA, pooled_from: torch.Tensor) -> torch.Tensor:
    pooled = pooled_from.mean((2, 3))
    reach = seca.kernel // 2
    gate = torch.empty_like(pooled)
    for channel in range(seca.channels):
        total = seca.conv.bias.clone()
        for tap in range(seca.kernel):
            neighbour = channel + tap - reach
            if 0 <= neighbour < seca.channels:
                total = total + seca.conv.weight[0, 0, tap] * pooled[:, neighbour]
        gate[:, channel] = torch.sigmoid(total)
    return gate[:, :, None, None]


@pytest.mark.parametrize("kernel", [3, 5])
def test_seca_first_kind_gates_by_its_own_current(kernel):
    seca = SECA(7, kernel)
    assert torch.allclose(seca(CURRENT), CURRENT * gate_by_hand(seca, CURRENT), atol=1e-6)


def test_seca_second_kind_pools_the_sum_of_both_currents():
    seca = SECA(7)
    expected = CURRENT * gate_by_hand(seca, PREVIOUS + CURRENT)
    assert torch.allclose(seca(CURRENT, PREVIOUS + CURRENT), expected, atol=1e-6)


def test_even_kernel_is_refused():
    with pytest.raises(ModelError, match="odd"):
        SECA(7, 4)


@pytest.mark.parametrize("kind", ["none", "I", "II", "II-gate"])
def test_a_layers_current_by_hand_in_each_kind(kind):
    """Eq. 8 and 9: I scales I_l, II as printed the sum I_(l-1) + I_l, II-gate I_l by what the sum says."""
    spec = NetworkSpec("small", (3, 4, 4), 2, 1, weights="float", seca=kind)
    parts = Parts(spec)
    layer = CurrentLayer(parts, parts.conv(3, 7), parts.sums_currents).eval()
    x, previous = torch.randn(2, 3, 3, 4, generator=GENERATOR), PREVIOUS
    with torch.no_grad():
        layer.norm.running_mean.uniform_(-1, 1, generator=GENERATOR)
        scaled, current = layer(x, previous)
        alone, _ = layer(x)
    norm = layer.norm
    convolved = torch.nn.functional.conv2d(x, layer.conv.weight, padding=1)
    by_hand = (convolved - norm.running_mean.view(-1, 1, 1)) / (1 + norm.eps) ** 0.5
    torch.testing.assert_close(current, by_hand)
    if kind == "none":
        assert layer.seca is None
        assert scaled is current
        return
    total = previous + by_hand
    of_itself = by_hand * gate_by_hand(layer.seca, by_hand)
    expected = {
        "I": of_itself,
        "II": total * gate_by_hand(layer.seca, total),
        "II-gate": by_hand * gate_by_hand(layer.seca, total),
    }
    torch.testing.assert_close(scaled, expected[kind])
    torch.testing.assert_close(alone, of_itself)  # where there is no previous current, all are I
