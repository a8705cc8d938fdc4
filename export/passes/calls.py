"""One call in a traced forward, as the functions that turn calls into layers see it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from hmdf.sim.contract import INPUT, Shape

from ..graph import Array
from .symbolic import module_path


class Refused(Exception):  # noqa: N818 - what happened to the call
    """The call has no layer: what is wrong, and what to do."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem, self.fix = problem, fix


@dataclass(frozen=True)
class Call:
    """A node of the graph.

    Attributes:
        layers: the layer that computes each node before it; nodes that were refused are missing.
        taken: how often each name of a layer was asked for.
    """

    node: fx.Node
    layers: Mapping[fx.Node, str]
    taken: Counter[str]

    @property
    def shape(self) -> Shape:
        """Of its value, without the samples."""
        return shape_of(self.node)

    @property
    def operand(self) -> Any:
        """Its first argument."""
        return self.node.args[0] if self.node.args else next(iter(self.node.kwargs.values()), None)

    @property
    def source(self) -> tuple[str, ...]:
        """The layer of its first argument."""
        return (self.layer_of(self.operand),)

    @property
    def calls(self) -> int:
        """How often its module is called."""
        return sum(n.op == "call_module" and n.target == self.node.target for n in self.node.graph.nodes)

    def layer_of(self, value: Any) -> str:
        """The layer that computes a value; "" for one that was refused, whose finding is enough.

        Raises:
            Refused: the value does not depend on the input.
        """
        if isinstance(value, fx.Node) and "constant" in value.meta:
            problem = "what does not depend on the input is read as if it did"
            raise Refused(problem, "add it, multiply or divide by it, or compute it from the input")
        return self.layers.get(value, "") if isinstance(value, fx.Node) else ""

    def argument(self, index: int, keyword: str, default: Any = None) -> Any:
        """An argument given by position or by keyword."""
        return self.node.args[index] if len(self.node.args) > index else self.node.kwargs.get(keyword, default)

    def module_name(self) -> str:
        """A new name for a layer, after the module that is called."""
        return self._unique(str(self.node.target))

    def function_name(self, what: str) -> str:
        """A new name for a layer, after what is done and the module that does it."""
        path = module_path(self.node)
        return self._unique(f"{path}.{what}" if path else what)

    def input_name(self) -> str:
        """A new name for a layer, after the argument of the forward."""
        return self._unique(f"{INPUT}.{self.node.target}")

    def _unique(self, path: str) -> str:
        """A node name from a module path; the second of a name gets '.call2'."""
        parts = [re.sub(r"\W", "_", part) or "_" for part in path.split(".")]
        if not re.match(r"[A-Za-z_]", parts[0]):
            parts[0] = f"layer{parts[0]}"
        if len(parts) == 1 and parts[0] in (INPUT, "readout"):
            parts[0] += "_"
        name = ".".join(parts)
        self.taken[name] += 1
        return name if self.taken[name] == 1 else self._unique(f"{name}.call{self.taken[name]}")


def shape_of(value: Any) -> Shape:
    """Shape of a node's value without the samples; () for what is no node."""
    return value.meta.get("shape", ()) if isinstance(value, fx.Node) else ()


def array(tensor: Tensor) -> Array:
    """A tensor as float64."""
    return tensor.detach().to("cpu", torch.float64).numpy()


def pair(value: Any) -> tuple[int, int]:
    """What PyTorch takes as one number or two, as two."""
    a, b = value if isinstance(value, tuple | list) else (value, value)
    return int(a), int(b)


def per_channel(constant: float | Tensor, shape: Shape) -> Array:
    """The values (C,) of a number, or of a tensor, that is combined with a value of `shape` (C, ...).

    Raises:
        Refused: the tensor differs within a channel, enlarges the value, or is not finite.
    """
    values = array(constant) if isinstance(constant, Tensor) else np.float64(constant)
    if not np.isfinite(values).all():
        raise Refused("a constant is not finite", "check the parameters it is computed from")
    try:
        rows = np.broadcast_to(values, (1, *shape)).reshape(shape[0], -1)
    except ValueError:
        rows = np.empty((1, 0))
    if rows.shape[1] == 0 or (rows != rows[:, :1]).any():
        raise Refused(f"a constant of shape {values.shape} is not one value per channel", "use (C, 1, 1), or a number")
    return rows[:, 0].copy()
