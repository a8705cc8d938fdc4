"""From an nn.Module to a LayerGraph, by torch.fx.

Supported in the forward of one time-step:

* our layers: HybridFiring, ParallelFiring, LeakyIntegrateAndFire, MultiHierarchical, TernaryConv2d, TernaryLinear,
  BinaryConv2d, BinaryLinear, SECA, StepBatchNorm2d;
* torch.nn: Conv2d, Linear, BatchNorm1d, BatchNorm2d, AvgPool2d, AdaptiveAvgPool2d (to a size that divides the input's),
  MaxPool2d, Flatten, Identity, Dropout, Sequential and any module made of supported ones (`module_layers.py`);
* operations: a + b, x + constant, x * constant, x / constant, torch.cat along the channels, x[:, start:stop],
  x.mean((2, 3)), torch.flatten(x, 1) (`operation_layers.py`). A constant is a number, or what is computed from
  parameters and numbers alone, one value per channel.

Whatever else occurs is a finding; all of them are reported at once.
"""

from __future__ import annotations

import copy
from collections import Counter

from torch import Tensor, fx, nn

from hmdf.sim.contract import INPUT
from hmdf.sim.finding import Finding
from hmdf.train.neurons import reset, temporal_modules

from ..errors import CompileError
from ..graph import InputLayer, Layer, LayerGraph, SliceLayer
from .calls import Call, Refused, shape_of
from .module_layers import layers_of_module
from .operation_layers import layers_of_operation
from .symbolic import SUPPORTED, innermost_line, module_path, symbolic_graph


def trace(module: nn.Module, example_input: Tensor | tuple[Tensor, ...]) -> LayerGraph:
    """Layers of `module` as they are executed at one time-step, in evaluation mode. The module is not changed.

    Args:
        example_input: one batch, (N, C, H, W) or (N, F); a tuple for a forward with several inputs of one size, which
            become consecutive channels of the program's input.

    Raises:
        CompileError: with every unsupported operation, its module path and its source line.
    """
    reset(module)
    module = copy.deepcopy(module).eval()
    inputs = tuple(x[:1] for x in (example_input if isinstance(example_input, tuple) else (example_input,)))
    graph_module = symbolic_graph(module, inputs)
    root = type(module).__name__
    findings = [*_unequal_steps(module, root), *_unequal_inputs(inputs, root)]
    shape = (sum(x.shape[1] for x in inputs), *inputs[0].shape[2:])
    layers: list[Layer] = [InputLayer(INPUT, shape, ())]
    computed: dict[fx.Node, str] = {}
    taken: Counter[str] = Counter()
    placeholders, output = 0, ""
    for node in graph_module.graph.nodes:
        if "constant" in node.meta:
            continue
        call = Call(node, computed, taken)
        made: tuple[Layer, ...] = ()
        try:
            if node.op == "output":
                output = _output(call)
                continue
            if node.op == "placeholder":
                made = _input_part(call, inputs, placeholders)
                placeholders += 1
            elif node.op == "call_module":
                made = layers_of_module(call, graph_module.get_submodule(str(node.target)))
            else:
                made = layers_of_operation(call)
        except Refused as refused:
            findings.append(_finding(node, refused, root))
            continue
        layers += made
        computed[node] = made[-1].name if made else INPUT if node.op == "placeholder" else call.source[0]
    if findings:
        raise CompileError(findings, SUPPORTED)
    steps = max((m.time_steps for _, m in temporal_modules(module)), default=1)
    return LayerGraph(steps, tuple(layers), output)


def _unequal_steps(module: nn.Module, root: str) -> list[Finding]:
    steps = {m.time_steps for _, m in temporal_modules(module)}
    problem = f"its neurons differ in their number of time-steps: {sorted(steps)}"
    return [Finding(root, problem, "use one T")] if len(steps) > 1 else []


def _unequal_inputs(inputs: tuple[Tensor, ...], root: str) -> list[Finding]:
    if len({tuple(x.shape[2:]) for x in inputs}) == 1 and all(x.dim() in (2, 4) for x in inputs):
        return []
    shapes = [tuple(x.shape) for x in inputs]
    return [Finding(root, f"inputs of shapes {shapes} cannot be stacked along the channels", "use (N, C, H, W)")]


def _input_part(call: Call, inputs: tuple[Tensor, ...], index: int) -> tuple[Layer, ...]:
    """The channels of the input that an argument of the forward is; no layer where it is all of them."""
    node = call.node
    if index >= len(inputs):
        if node.args:  # a default value: the example did not give this argument
            raise Refused(f"argument '{node.target}' is left at its default", "remove it from the forward")
        return ()
    if len(inputs) == 1:
        return ()
    start = sum(x.shape[1] for x in inputs[:index])
    return (SliceLayer(call.input_name(), call.shape, (INPUT,), start),)


def _output(call: Call) -> str:
    """The layer whose value the forward returns."""
    value = call.operand
    if not isinstance(value, fx.Node):
        raise Refused("the forward returns more than one tensor", "return the logits (N, classes) only")
    if len(shape := shape_of(value)) != 1:
        raise Refused(f"the forward returns {shape} per sample", "return the logits (N, classes)")
    return call.layer_of(value)


def _finding(node: fx.Node, refused: Refused, root: str) -> Finding:
    where = str(node.target) if node.op == "call_module" else (module_path(node) or root)
    return Finding(where, refused.problem, refused.fix, source=innermost_line(node.stack_trace or ""))
