import pytest
import torch
from torch.nn import functional

from hmdf.train.errors import ModelError
from hmdf.train.synapses import BinaryConv2d, BinaryLinear, TernaryConv2d, TernaryLinear, quantised_once

X = torch.randn(2, 6, 5, 5, generator=torch.Generator().manual_seed(0))


def with_weights(layer, spread: float = 0.8):
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(3)) * spread)
        layer.weight.view(-1)[0] = 0.0
    return layer


def rows(weight: torch.Tensor, per: str) -> list[torch.Tensor]:
    """The parts of a weight that share a scale."""
    return list(weight) if per == "channel" else [weight]


def ternary_by_hand(weight: torch.Tensor, per: str) -> torch.Tensor:
    parts = []
    for part in rows(weight, per):
        kept = part.abs() > 0.7 * part.abs().mean()
        parts.append(part.sign() * kept * part.abs()[kept].mean())
    return torch.stack(parts) if per == "channel" else parts[0]


def binary_by_hand(weight: torch.Tensor, per: str) -> torch.Tensor:
    parts = [torch.where(part >= 0, 1.0, -1.0) * part.abs().mean() for part in rows(weight, per)]
    return torch.stack(parts) if per == "channel" else parts[0]


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize(
    ("kind", "by_hand", "bits"), [(TernaryConv2d, ternary_by_hand, 2), (BinaryConv2d, binary_by_hand, 1)]
)
def test_forward_and_gradient_of_convolutions(kind, by_hand, bits, per):
    layer = with_weights(kind(6, 4, 3, stride=2, padding=1, groups=2, scale_per=per))
    assert layer.weight_bits == bits
    assert layer.bias is None
    quantised = by_hand(layer.weight.detach(), per).requires_grad_()
    expected = functional.conv2d(X, quantised, stride=2, padding=1, groups=2)
    output = layer(X)
    assert torch.allclose(output, expected, atol=1e-5)
    output.square().sum().backward()
    expected.square().sum().backward()
    passed = quantised.grad if bits == 2 else quantised.grad * (layer.weight.detach().abs() <= 1)
    assert torch.allclose(layer.weight.grad, passed, atol=1e-3)
    if bits == 1:
        assert (passed == 0).any()


@pytest.mark.parametrize("kind", [TernaryLinear, BinaryLinear])
def test_linear_layers_use_their_quantised_weight(kind):
    layer = with_weights(kind(7, 3, bias=True))
    integer, scale = layer.quantized()
    x = torch.randn(4, 7)
    assert torch.allclose(layer(x), x @ (integer * scale[:, None].float()).T + layer.bias, atol=1e-6)


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize(("kind", "values"), [(TernaryConv2d, {-1, 0, 1}), (BinaryConv2d, {-1, 1})])
def test_quantized_gives_the_factors_of_the_forward_weight(kind, values, per):
    layer = with_weights(kind(6, 4, 3, scale_per=per))
    integer, scale = layer.quantized()
    assert integer.dtype == torch.int8
    assert integer.shape == layer.weight.shape
    assert scale.dtype == torch.float64
    assert scale.shape == (4,)
    assert set(integer.unique().tolist()) == values
    assert len(scale.unique()) == (4 if per == "channel" else 1)
    product = integer.double() * scale[:, None, None, None]
    assert torch.equal(product.float(), layer.low_bit_weight())


def test_sign_of_zero_is_plus_one():
    layer = with_weights(BinaryConv2d(6, 4, 3))
    assert layer.weight.view(-1)[0] == 0
    assert layer.quantized()[0].view(-1)[0] == 1


def test_all_zero_ternary_weights_stay_finite():
    layer = TernaryConv2d(6, 4, 3)
    torch.nn.init.zeros_(layer.weight)
    assert torch.equal(layer(X), torch.zeros_like(layer(X)))


def test_unknown_scale_is_refused():
    with pytest.raises(ModelError, match="scale_per"):
        TernaryConv2d(6, 4, 3, scale_per="row")


@pytest.mark.parametrize("kind", [TernaryConv2d, BinaryConv2d])
def test_quantising_once_changes_no_output_and_no_gradient(kind):
    torch.manual_seed(0)
    layer, x = kind(2, 3, 3), torch.randn(2, 2, 6, 6)

    def outputs_and_gradient():
        layer.weight.grad = None
        outputs = [layer(x), layer(2 * x)]
        for output in outputs:
            output.square().sum().backward()
        return [*outputs, layer.weight.grad]

    plain = outputs_and_gradient()
    with quantised_once(layer):
        held = outputs_and_gradient()
        with torch.no_grad():
            layer.weight.neg_()
        assert torch.equal(layer(x), plain[0])
    assert all(torch.equal(one, other) for one, other in zip(plain, held, strict=True))
    assert torch.allclose(layer(x), -plain[0], atol=1e-5)
