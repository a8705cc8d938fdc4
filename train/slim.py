"""Low-bit weights as the integers they are used as: what a slim checkpoint has in the place of their float32 values.

A weight is used as scale * integer and the scale is a mean of magnitudes, so a slim file need only hold the integers,
packed, and of each tensor or channel the sum of its magnitudes, ``total``. `unpack` spreads the total over the weights
that are not 0 as evenly as whole units of its last bit allow. Every partial sum of these magnitudes is a float32 of its
own, so whatever the order in which they are summed, the quantiser finds the same integers and the same scale, to the
last bit. Writing scale * integer itself would not do: a float32 sum of n times the scale is in general not n * scale.

Packing: ternary weights as integer + 1 in 2 bits, four to a byte; binary ones as (integer + 1) / 2 in 1 bit, eight to a
byte; in the order of the tensor's elements, the first in the lowest bits, the last byte filled up with zeros.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .errors import ModelError
from .synapses import LowBit

__all__ = ["pack", "pack_state", "unpack", "unpack_state"]

Packed = dict[str, Tensor]

FLOAT32_DIGITS = 24
# A scale is its total after three roundings of half a unit in the last place, and a unit may count twice after one.
NEIGHBOURS = sorted(range(-4, 5), key=abs)


def pack_state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Packed]]:
    """Divide the state of a network into (what stays as it is, low-bit weights packed), both by name.

    A weight that packing cannot give back exactly (an infinite or a vanishing scale) stays as it is.
    """
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    packed = {name: pack(synapse) for name, synapse in _low_bit_weights(model)}
    exact = {name: found for name, found in packed.items() if found is not None}
    return {name: tensor for name, tensor in state.items() if name not in exact}, exact


def unpack_state(model: nn.Module, packed: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The inverse for the packed part; ``model`` may be on the meta device.

    Raises ModelError naming the weight and the reason, before anything of its size is allocated.
    """
    synapses = dict(_low_bit_weights(model))
    result = {}
    for name, content in packed.items():
        if name not in synapses:
            raise ModelError(f"{name!r} is packed, but is no low-bit weight of the network")
        try:
            result[name] = unpack(synapses[name], content)
        except ModelError as error:
            raise ModelError(f"{name!r}: {error}") from None
    return result


def pack(synapse: LowBit) -> Packed | None:
    """{"codes": uint8 (bytes,), "total": float32 (1,) or (C_out,)}; None where it cannot be exact."""
    integer, scale = (factor.cpu() for factor in synapse.quantized())
    codes = _to_bytes(integer + 1 if synapse.weight_bits == 2 else (integer + 1) // 2, synapse.weight_bits)
    signs = _groups(integer, synapse)
    wanted = scale.view(len(signs), -1)[:, 0]
    estimate = (wanted * signs.count_nonzero(1)).float()
    total, found = estimate.clone(), torch.zeros(len(signs), dtype=torch.bool)
    for steps in NEIGHBOURS:
        candidate = torch.where(found, total, _moved(estimate, steps))
        again, its_scale = _quantised_again(synapse, _spread(candidate, signs).view_as(integer))
        exact = (its_scale.view(len(signs), -1)[:, 0] == wanted) & (_groups(again, synapse) == signs).all(1)
        total, found = torch.where(exact, candidate, total), found | exact
        if found.all():
            return {"codes": codes, "total": total}
    return None


def unpack(synapse: LowBit, packed: Any) -> Tensor:
    """Float32 weights, of the shape of the synapse's, which quantise to the packed integers and their scale.

    Raises ModelError if the content does not fit the synapse.
    """
    if not isinstance(packed, dict) or set(packed) != {"codes", "total"}:
        raise ModelError("must have 'codes' and 'total' and nothing else")
    shape, bits = synapse.weight.shape, synapse.weight_bits
    groups = 1 if synapse.scale_per == "tensor" else shape[0]
    _check("codes", packed["codes"], torch.uint8, -(-shape.numel() * bits // 8))
    _check("total", packed["total"], torch.float32, groups)
    total = packed["total"]
    if not (total.isfinite() & (total >= 0)).all():
        raise ModelError("a total of magnitudes must be finite and not negative")
    codes = _from_bytes(packed["codes"], bits, shape.numel())
    if bits == 2 and (codes == 3).any():
        raise ModelError("the code 3 stands for no ternary weight")
    integer = (codes.to(torch.int8) - 1 if bits == 2 else 2 * codes.to(torch.int8) - 1).view(groups, -1)
    return _spread(total, integer).view(shape)


def _low_bit_weights(model: nn.Module) -> Iterator[tuple[str, LowBit]]:
    return ((f"{name}.weight", module) for name, module in model.named_modules() if isinstance(module, LowBit))


def _groups(integer: Tensor, synapse: LowBit) -> Tensor:
    """(groups, weights of each): those that share a scale."""
    return integer.reshape(1 if synapse.scale_per == "tensor" else len(integer), -1)


def _quantised_again(synapse: LowBit, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(integer, scale) of other weights in the place of the synapse's own."""
    own = synapse.weight.data
    try:
        synapse.weight.data = weight
        return synapse.quantized()
    finally:
        synapse.weight.data = own


def _spread(total: Tensor, signs: Tensor) -> Tensor:
    """(groups, size): signs times magnitudes that are equal up to one unit in the last place of their total (groups,).

    The first weights of a group take the units that remain.
    """
    mantissa, exponent = torch.frexp(total)
    units = (mantissa * 2**FLOAT32_DIGITS).to(torch.int64)
    kept = signs.count_nonzero(1).clamp(min=1)
    rank = signs.ne(0).cumsum(1, dtype=torch.int32)
    magnitude = (units // kept)[:, None] + (rank <= (units % kept)[:, None])
    return torch.ldexp((signs * magnitude).float(), (exponent - FLOAT32_DIGITS)[:, None])


def _moved(values: Tensor, steps: int) -> Tensor:
    """The float32 that many representable numbers further, at least 0."""
    return (values.view(torch.int32) + steps).clamp(min=0).view(torch.float32)


def _to_bytes(codes: Tensor, bits: int) -> Tensor:
    per_byte = 8 // bits
    flat = codes.flatten().to(torch.uint8)
    filled = torch.cat([flat, flat.new_zeros(-len(flat) % per_byte)]).view(-1, per_byte)
    return (filled << _places(bits)).sum(1, dtype=torch.uint8)


def _from_bytes(packed: Tensor, bits: int, count: int) -> Tensor:
    return (packed[:, None] >> _places(bits) & 2**bits - 1).flatten()[:count]


def _places(bits: int) -> Tensor:
    return torch.arange(0, 8, bits, dtype=torch.uint8)


def _check(what: str, tensor: Any, dtype: torch.dtype, length: int) -> None:
    found = f"{tensor.dtype} {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
    if found != f"{dtype} ({length},)":
        raise ModelError(f"{what!r} is {found}, the network needs {dtype} ({length},)")
