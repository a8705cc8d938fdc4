"""Conv1d and Conv2d; the first as rows of one."""

from __future__ import annotations

import numpy as np

from hmdf.sim.contract import Conv2d

from ..building import Building
from ..parameters import Unsupported, integers, pair, parameter
from ..units import Unit
from ..weights import weight_layer

KINDS = ("Conv1d", "Conv2d")


def layers(made: Building, unit: Unit, source: str) -> str:
    weight, axes = parameter(unit, "weight"), 1 if unit.kind == "Conv1d" else 2
    if weight.ndim != axes + 2 or not weight.size:
        raise Unsupported(f"its weight has the shape {weight.shape}", f"use {axes + 2} axes: outputs, inputs, kernel")
    kernel = weight.shape[2:]
    stride, dilation = (pair(unit, name, axes) for name in ("stride", "dilation"))
    padding = unit.values.get("padding")
    if isinstance(padding, bytes):
        padding = padding.decode()
    if isinstance(padding, str):
        reach = [d * (k - 1) for d, k in zip(dilation[-axes:], kernel, strict=True)]
        if padding == "same" and any(r % 2 for r in reach):
            raise Unsupported(f"'same' padding of a kernel of {kernel} is not symmetric", "use an odd kernel")
        pads = [r // 2 if padding == "same" else 0 for r in reach]
        both = (pads[-2] if axes == 2 else 0, pads[-1])
    else:
        both = pair(unit, "padding", axes, fill=0)
    (groups,) = integers("its groups", unit.values.get("groups"), (1,))
    weight = weight.reshape(*weight.shape[:2], *(1,) * (2 - axes), *kernel)
    given = unit.values.get("bias")
    bias = np.zeros(len(weight)) if given is None else parameter(unit, "bias")
    op = Conv2d(weight, 0, stride=stride, padding=both, dilation=dilation, groups=groups)
    return weight_layer(made, unit, source, op, bias)
