"""Layers of operations: what arithmetic and reshaping in a forward becomes."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from hmdf.sim.contract import SumPool

from ..graph import ConcatLayer, FlattenLayer, Layer, NormLayer, PoolLayer, SliceLayer, SumLayer
from .calls import Call, Refused, per_channel, shape_of
from .module_layers import flatten
from .symbolic import IN_PLACE, lost_value

_ADDITION = (operator.add, operator.iadd, torch.add, "add", "add_")
_MULTIPLICATION = (operator.mul, operator.imul, torch.mul, "mul", "mul_")
_DIVISION = (operator.truediv, operator.itruediv, torch.div, "div", "div_")


def layers_of_operation(call: Call) -> tuple[Layer, ...]:
    """The layers that a call of a function or method becomes; the last computes its value.

    Raises:
        Refused: there are none.
    """
    node, target = call.node, call.node.target
    if target in IN_PLACE and (lost := lost_value(node)):
        raise Refused(f"an in-place operation changes {lost}", "write a = a + b, not a += b or a.add_(b)")
    if target in (*_ADDITION, *_MULTIPLICATION, *_DIVISION) and not node.kwargs:
        return (_arithmetic(call),)
    if target in (torch.flatten, "flatten"):
        return (flatten(call, call.argument(1, "start_dim", 0), call.argument(2, "end_dim", -1)),)
    if target in (torch.mean, "mean") and _is_global(call):
        return _global_mean(call)
    if target in (torch.cat, torch.concat):
        return (_concatenation(call),)
    if target is operator.getitem and _is_channel_slice(call.argument(1, "")):
        start = call.argument(1, "")[1].start or 0
        return (SliceLayer(call.function_name("slice"), call.shape, call.source, start),)
    raise _unsupported(node)


def _unsupported(node: fx.Node) -> Refused:
    called = getattr(node.target, "__name__", node.target)
    return Refused(f"operation '{called}' is not supported", "replace it by a supported one")


def _arithmetic(call: Call) -> Layer:
    """A sum of two layers; or x + c, x * c, x / c with a number or a tensor that does not depend on the input."""
    target, operands = call.node.target, call.node.args
    layers = [a for a in operands if isinstance(a, fx.Node) and "constant" not in a.meta]
    if target in _ADDITION and len(layers) == 2:
        return _sum(call, layers)
    constants = [a.meta["constant"] if isinstance(a, fx.Node) else a for a in operands if a not in layers]
    if len(layers) != 1 or len(constants) != 1 or not isinstance(constants[0], int | float | Tensor):
        raise _unsupported(call.node)
    if target in _DIVISION and layers[0] is not operands[0]:
        raise _unsupported(call.node)
    shape = shape_of(layers[0])
    value = per_channel(constants[0], shape)
    gain, offset = np.ones(shape[0]), np.zeros(shape[0])
    name = "scaled"
    if target in _ADDITION:
        offset, name = value, "shifted"
    elif target in _MULTIPLICATION:
        gain = value
    elif (value == 0).any():
        raise Refused("it divides by 0", "check the parameters it is computed from")
    else:
        gain = 1 / value
    return NormLayer(call.function_name(name), shape, (call.layer_of(layers[0]),), gain, offset)


def _sum(call: Call, parts: list[fx.Node]) -> Layer:
    first, second = (shape_of(part) for part in parts)
    if first != second:
        raise Refused(f"adding {first} and {second} broadcasts", "add equal shapes")
    return SumLayer(call.function_name("sum"), first, tuple(call.layer_of(part) for part in parts))


def _concatenation(call: Call) -> Layer:
    axis, parts = call.argument(1, "dim", 0), call.operand
    if axis not in (1, -3) or not isinstance(parts, list | tuple):
        raise Refused(f"concatenation along axis {axis} is not supported", "concatenate channels: dim=1")
    sources = tuple(call.layer_of(part) for part in parts)
    return ConcatLayer(call.function_name("cat"), call.shape, sources)


def _is_global(call: Call) -> bool:
    """Whether a mean is over height and width."""
    axes = call.argument(1, "dim")
    spatial = isinstance(axes, tuple | list) and sorted(int(a) % 4 for a in axes) == [2, 3]
    return spatial and len(shape_of(call.operand)) == 3


def _global_mean(call: Call) -> tuple[Layer, ...]:
    channels, height, width = shape_of(call.operand)
    op, name = SumPool((height, width), (height, width)), call.function_name("mean")
    pool = PoolLayer(name, (channels, 1, 1), call.source, op, 1 / (height * width))
    if len(call.shape) == 3:
        return (pool,)
    return pool, FlattenLayer(call.function_name("flat"), (channels,), (name,))


def _is_channel_slice(index: Any) -> bool:
    everything = slice(None)
    return (
        isinstance(index, tuple)
        and len(index) >= 2
        and all(i in (everything, ...) for i in (index[0], *index[2:]))
        and isinstance(index[1], slice)
        and index[1].step in (None, 1)
        and all(edge is None or (isinstance(edge, int) and edge >= 0) for edge in (index[1].start, index[1].stop))
    )
