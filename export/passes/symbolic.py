"""An nn.Module as a torch.fx graph whose nodes know their shapes and their places in the user's code."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from hmdf.sim.finding import Finding
from hmdf.train.attention import SECA
from hmdf.train.neurons import Neuron, set_step
from hmdf.train.step_norm import StepBatchNorm2d
from hmdf.train.synapses import LowBit

from ..errors import CompileError

SUPPORTED = (
    "supported are HybridFiring, ParallelFiring, LeakyIntegrateAndFire, MultiHierarchical, Ternary/BinaryConv2d, "
    "Ternary/BinaryLinear, SECA, nn.Conv2d, nn.Linear, nn.BatchNorm1d/2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, "
    "nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout, a + b, +, * and / with a constant, torch.cat over channels, "
    "x[:, a:b], x.mean((2, 3)), torch.flatten(x, 1)"
)
IN_PLACE = (operator.iadd, operator.imul, operator.itruediv, "add_", "mul_", "div_")
"""Operations that overwrite their first operand."""
_TORCH = str(Path(torch.__file__).parent)


def symbolic_graph(module: nn.Module, inputs: tuple[Tensor, ...]) -> fx.GraphModule:
    """The forward of `module` as a graph with the shapes that it has for `inputs`: see `_Shapes`.

    Raises:
        CompileError: the forward depends on the values of tensors, or does not take these inputs.
    """
    tracer = _Tracer()
    try:
        graph = tracer.trace(module)
    except Exception as error:
        # fx runs the user's own forward with symbols in place of tensors, so anything may be raised here.
        problem = f"its forward cannot be traced: {_first_line(error)}"
        fix = "the forward of one time-step must not branch or loop on the values of tensors"
        where = type(module).__name__
        raise CompileError([Finding(where, problem, fix, source=_line_of(error))], SUPPORTED) from error
    graph_module = fx.GraphModule(tracer.root, graph)
    set_step(graph_module, 0)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    with torch.no_grad():
        shapes = _Shapes(graph_module)
        shapes.extra_traceback = False
        shapes.run(*(x.to(dtype) for x in inputs))
    return graph_module


def lost_value(node: fx.Node) -> str:
    """What of the old value of its first operand, which an in-place operation overwrites, is still read; or ''."""
    *_, written = _same_storage(node)
    if written.op == "placeholder":
        return "the input, which the next time-step reads"
    later = node.next
    while later.op != "root":
        for read in later.all_input_nodes:
            path = list(_same_storage(read))
            if path[-1] is written and node not in path:
                return "a tensor that is read again under its old name"
        later = later.next
    return ""


def module_path(node: fx.Node) -> str:
    """Path of the module whose forward made this node."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [entry[0] if isinstance(entry, tuple) else key for key, entry in stack.items()]
    return str(paths[-1]) if paths else ""


def innermost_line(stack: str) -> str:
    """The innermost file and line of the user's code in a stack trace, 'net.py:12'."""
    places = [p for p in re.findall(r'File "([^"]+)", line (\d+)', stack) if not p[0].startswith((_TORCH, __file__))]
    return f"{Path(places[-1][0]).name}:{places[-1][1]}" if places else ""


class _Proxy(fx.Proxy):
    """Keeps `a += b`, which changes a tensor that may have other names, apart from `a = a + b`; fx itself does not."""

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __imul__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})


class _Tracer(fx.Tracer):
    record_stack_traces = True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = isinstance(m, Neuron | LowBit | SECA | StepBatchNorm2d)
        return ours or super().is_leaf_module(m, module_qualified_name)


class _Shapes(fx.Interpreter):
    """Runs the example through the graph and notes the shape of every value, without the batch axis.

    What is computed from parameters and numbers alone is noted as `meta["constant"]`.
    """

    def run_node(self, n: fx.Node) -> Any:
        try:
            value = super().run_node(n)
        except Exception as error:
            # The user's own layers run here: a size that does not fit may raise anything.
            problem = f"fails on the example input: {_first_line(error)}"
            fix = "pass an example input of the shape that the network was made for"
            where = str(n.target) if n.op == "call_module" else module_path(n)
            finding = Finding(where, problem, fix, source=innermost_line(n.stack_trace or ""))
            raise CompileError([finding]) from error
        if isinstance(value, Tensor):
            n.meta["shape"] = tuple(value.shape[1:])
            computed = n.op in ("call_function", "call_method") and all("constant" in i.meta for i in n.all_input_nodes)
            if n.op == "get_attr" or computed:
                n.meta["constant"] = value
        return value


def _same_storage(node: fx.Node) -> Iterator[fx.Node]:
    """The node, what it is a view or an in-place change of, and so on back to what made the tensor."""
    while True:
        yield node
        if not (_is_view(node) and node.args and isinstance(node.args[0], fx.Node)):
            return
        node = node.args[0]


def _is_view(node: fx.Node) -> bool:
    if node.op == "call_module":
        module = node.graph.owning_module.get_submodule(str(node.target))  # type: ignore[union-attr]
        return isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d | nn.Flatten)
    return node.target in (*IN_PLACE, operator.getitem, torch.flatten, "flatten")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip(": ").splitlines()[0]


def _line_of(error: BaseException) -> str:
    """The innermost line outside torch that an exception passed through."""
    place, step = "", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if not file.startswith(_TORCH) and file != __file__:
            place = f"{Path(file).name}:{step.tb_lineno}"
        step = step.tb_next
    return place
