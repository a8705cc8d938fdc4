import pytest
import torch

from hmdf.train.attention import SECA
from hmdf.train.errors import ModelError

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
