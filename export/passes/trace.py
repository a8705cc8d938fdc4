"""From an nn.Module to a LayerGraph, by torch.fx.

Supported in the forward of one time-step:

* our layers: HybridFiring, ParallelFiring, LeakyIntegrateAndFire, TernaryConv2d, TernaryLinear, BinaryConv2d,
  BinaryLinear, SECA;
* torch.nn: Conv2d, Linear, BatchNorm1d, BatchNorm2d, AvgPool2d, AdaptiveAvgPool2d (to a size that divides the input's),
  MaxPool2d, Flatten, Identity, Dropout, Sequential and any module made of supported ones;
* operations: a + b, x * constant, x / constant, torch.cat along the channels, x[:, start:stop], x.mean((2, 3)),
  torch.flatten(x, 1).

Whatever else occurs is a finding; all of them are reported at once.
"""

from __future__ import annotations

import copy
import math
import operator
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from hmdf.sim.contract import INPUT, Conv2d, Linear, MaxPool, Pool, Shape, SumPool, WeightedOp
from hmdf.sim.finding import Finding
from hmdf.train.attention import SECA
from hmdf.train.neurons import (
    HybridFiring,
    LeakyIntegrateAndFire,
    Neuron,
    ParallelFiring,
    reset,
    temporal_modules,
)
from hmdf.train.synapses import LowBit

from ..errors import CompileError
from ..graph import (
    Array,
    AttentionLayer,
    ConcatLayer,
    FiringKind,
    FiringLayer,
    FlattenLayer,
    InputLayer,
    Layer,
    LayerGraph,
    MembraneNorm,
    NormLayer,
    PoolLayer,
    SliceLayer,
    SpikeFormat,
    SumLayer,
    WeightLayer,
)
from .symbolic import IN_PLACE, SUPPORTED, innermost_line, lost_value, module_path, symbolic_graph

_ADDITION = (operator.add, operator.iadd, torch.add, "add", "add_")
_MULTIPLICATION = (operator.mul, operator.imul, torch.mul, "mul", "mul_")
_DIVISION = (operator.truediv, operator.itruediv, torch.div, "div", "div_")
_KINDS: dict[type, FiringKind] = {HybridFiring: "hybrid", ParallelFiring: "parallel", LeakyIntegrateAndFire: "lif"}


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
    builder = _Builder(module, graph_module, inputs)
    return builder.build()


class _Builder:
    """Turns fx nodes into layers and gathers findings."""

    def __init__(self, module: nn.Module, graph_module: fx.GraphModule, inputs: tuple[Tensor, ...]) -> None:
        self.module, self.graph = module, graph_module.graph
        self.modules = dict(graph_module.named_modules())
        self.inputs = inputs
        self.layers: list[Layer] = []
        self.names: dict[fx.Node, str] = {}
        self.taken: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.time_steps = self._time_steps()

    def build(self) -> LayerGraph:
        self._input()
        placeholders = 0
        output = ""
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, placeholders)
                placeholders += 1
            elif node.op == "output":
                output = self._output(node)
            elif node.op == "call_module":
                self._module(node)
            elif not (node.op == "get_attr" and not node.users):
                self._operation(node)
        if self.findings:
            raise CompileError(self.findings, SUPPORTED)
        return LayerGraph(self.time_steps, tuple(self.layers), output)

    # ---------------------------------------------------------------------- inputs, output

    def _time_steps(self) -> int:
        steps = {m.time_steps for _, m in temporal_modules(self.module)}
        if len(steps) > 1:
            self._problem(None, f"its neurons differ in their number of time-steps: {sorted(steps)}", "use one T")
        return max(steps, default=1)

    def _input(self) -> None:
        sizes = {tuple(x.shape[2:]) for x in self.inputs}
        if len(sizes) > 1 or any(x.dim() not in (2, 4) for x in self.inputs):
            shapes = [tuple(x.shape) for x in self.inputs]
            self._problem(None, f"inputs of shapes {shapes} cannot be stacked along the channels", "use (N, C, H, W)")
        channels = sum(x.shape[1] for x in self.inputs)
        self.layers.append(InputLayer(INPUT, (channels, *self.inputs[0].shape[2:])))

    def _placeholder(self, node: fx.Node, index: int) -> None:
        if index >= len(self.inputs):
            if node.args:  # a default value: the example did not give this argument
                self._problem(node, f"argument '{node.target}' is left at its default", "remove it from the forward")
            return
        if len(self.inputs) == 1:
            self.names[node] = INPUT
            return
        start = sum(x.shape[1] for x in self.inputs[:index])
        name = self._name(f"{INPUT}.{node.target}")
        self._add(node, SliceLayer(name, self._shape(node), INPUT, start))

    def _output(self, node: fx.Node) -> str:
        value = node.args[0]
        if not isinstance(value, fx.Node):
            self._problem(node, "the forward returns more than one tensor", "return the logits (N, classes) only")
            return ""
        shape = self._shape(value)
        if len(shape) != 1:
            self._problem(node, f"the forward returns {shape} per sample", "return the logits (N, classes)")
        return self.names.get(value, "")

    # ------------------------------------------------------------------------------ modules

    def _module(self, node: fx.Node) -> None:
        module = self.modules[str(node.target)]
        handlers: list[tuple[type | tuple[type, ...], Callable[[fx.Node, Any], None]]] = [
            (LowBit, self._low_bit),
            ((nn.Conv2d, nn.Linear), self._full_precision),
            ((nn.BatchNorm1d, nn.BatchNorm2d), self._norm),
            (Neuron, self._neuron),
            (SECA, self._attention),
            (nn.AvgPool2d, self._average_pool),
            (nn.AdaptiveAvgPool2d, self._adaptive_pool),
            (nn.MaxPool2d, self._max_pool),
            (nn.Flatten, self._flatten_module),
            ((nn.Identity, nn.Dropout, nn.Dropout2d), self._same),
        ]
        for kind, handler in handlers:
            if isinstance(module, kind):
                handler(node, module)
                return
        self._problem(node, f"{type(module).__name__} is not supported", "replace it by a supported layer")

    def _low_bit(self, node: fx.Node, module: Any) -> None:
        integer, scale = module.quantized()
        self._weighted(node, module, _array(integer), _array(scale), module.weight_bits)

    def _full_precision(self, node: fx.Node, module: Any) -> None:
        weight = _array(module.weight)
        self._weighted(node, module, weight, np.ones(len(weight)), 0)

    def _weighted(self, node: fx.Node, module: Any, weight: Array, scale: Array, weight_bits: int) -> None:
        if not self._finite(node, module):
            return
        op: WeightedOp = Linear(weight, weight_bits)
        if isinstance(module, nn.Conv2d):
            if module.padding_mode != "zeros" or isinstance(module.padding, str):
                problem = f"padding {module.padding!r} in mode {module.padding_mode!r} is not supported"
                self._problem(node, problem, "use a number of zeros")
                return
            geometry = (_pair(module.stride), _pair(module.padding), _pair(module.dilation))
            op = Conv2d(weight, weight_bits, *geometry, module.groups)
        bias = np.zeros(len(weight)) if module.bias is None else _array(module.bias)
        source = self._source(node)
        if isinstance(op, Linear) and source and len(self._shape(node.args[0])) != 1:
            self._problem(node, f"a linear layer on {self._shape(node.args[0])}", "flatten first: torch.flatten(x, 1)")
            return
        shape = self._shape(node)
        self._add(node, WeightLayer(self._name(node.target), shape, source, op, scale, bias))

    def _norm(self, node: fx.Node, module: Any) -> None:
        if module.running_mean is None:
            self._problem(node, "BatchNorm without running statistics depends on the batch", "track_running_stats=True")
            return
        if not self._finite(node, module) or not self._positive_variance(node, module):
            return
        gain = 1 / np.sqrt(_array(module.running_var) + module.eps)
        if module.affine:
            gain = gain * _array(module.weight)
        offset = -gain * _array(module.running_mean)
        if module.affine:
            offset = offset + _array(module.bias)
        self._add(node, NormLayer(self._name(node.target), self._shape(node), self._source(node), gain, offset))

    def _neuron(self, node: fx.Node, module: Neuron) -> None:
        kind = _KINDS.get(type(module))
        if kind is None:
            self._problem(node, f"{type(module).__name__} is not a neuron the compiler knows", "use a supported one")
            return
        calls = sum(other.op == "call_module" and other.target == node.target for other in self.graph.nodes)
        if calls > 1 and kind != "parallel":
            problem = f"a neuron with a membrane is called {calls} times in one time-step"
            self._problem(node, problem, "give each call a neuron of its own")
            return
        if not self._finite(node, module):
            return
        norm = None
        if module.mpbn:
            norms: list[Any] = list(module.norms)
            if not all(self._positive_variance(node, n) for n in norms):
                return
            norm = MembraneNorm(
                alpha=_array(module.alpha()),
                beta=_array(module.beta()),
                gamma=np.stack([_array(n.weight) for n in norms]),
                mean=np.stack([_array(n.running_mean) for n in norms]),
                variance=np.stack([_array(n.running_var) for n in norms]),
                shift=np.stack([_array(n.bias) for n in norms]),
                eps=norms[0].eps,
            )
        bits = module.spike.bits
        self._add(
            node,
            FiringLayer(
                name=self._name(node.target),
                shape=self._shape(node),
                source=self._source(node),
                kind=kind,
                leak=_array(module.leak()),
                threshold=_array(module.threshold()),
                norm=norm,
                spike=None if bits is None else SpikeFormat(bits, module.spike.lsb_value()),
            ),
        )

    def _attention(self, node: fx.Node, module: SECA) -> None:
        if not self._finite(node, module):
            return
        pooled = node.kwargs.get("pooled_from", node.args[1] if len(node.args) > 1 else None)
        source = self._source(node)
        taps, bias = _array(module.conv.weight).reshape(-1), float(_array(module.conv.bias)[0])  # type: ignore[arg-type]
        pooled_from = self.names.get(pooled, "") if isinstance(pooled, fx.Node) else source
        name = self._name(node.target)
        self._add(node, AttentionLayer(name, self._shape(node), source, pooled_from, taps, bias))

    # -------------------------------------------------------------------------------- pools

    def _average_pool(self, node: fx.Node, module: nn.AvgPool2d) -> None:
        kernel, padding = _pair(module.kernel_size), _pair(module.padding)
        if module.ceil_mode or (any(padding) and not module.count_include_pad):
            problem = "average pooling with ceil_mode, or padding that is not counted, is not supported"
            self._problem(node, problem, "use ceil_mode=False and count_include_pad=True")
            return
        op = SumPool(kernel, _pair(module.stride), padding)
        self._pool(node, op, 1 / (module.divisor_override or math.prod(kernel)))

    def _adaptive_pool(self, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> None:
        size = self._shape(node.args[0])[1:]
        wanted = self._shape(node)[1:]
        if any(s % w for s, w in zip(size, wanted, strict=True)):
            self._problem(node, f"adaptive pooling from {size} to {wanted} has unequal windows", "use a divisor")
            return
        kernel = _pair(tuple(s // w for s, w in zip(size, wanted, strict=True)))
        self._pool(node, SumPool(kernel, kernel), 1 / math.prod(kernel))

    def _max_pool(self, node: fx.Node, module: nn.MaxPool2d) -> None:
        if module.ceil_mode or module.return_indices or _pair(module.dilation) != (1, 1):
            problem = "max-pooling with ceil_mode, dilation or indices is not supported"
            self._problem(node, problem, "use the plain form")
            return
        self._pool(node, MaxPool(_pair(module.kernel_size), _pair(module.stride), _pair(module.padding)), 1.0)

    def _pool(self, node: fx.Node, op: Pool, factor: float) -> None:
        self._add(node, PoolLayer(self._name(node.target), self._shape(node), self._source(node), op, factor))

    # --------------------------------------------------------------------- shapes, operations

    def _same(self, node: fx.Node, _module: nn.Module) -> None:
        self.names[node] = self._source(node)

    def _flatten_module(self, node: fx.Node, module: nn.Flatten) -> None:
        self._flatten(node, module.start_dim, module.end_dim)

    def _flatten(self, node: fx.Node, start: Any, end: Any) -> None:
        if (start, end) not in ((1, -1), (1, 3), (-3, -1)):
            self._problem(node, f"flattening axes {start}..{end} is not supported", "use torch.flatten(x, 1)")
            return
        self._add(node, FlattenLayer(self._function_name(node, "flat"), self._shape(node), self._source(node)))

    def _operation(self, node: fx.Node) -> None:
        target, args = node.target, node.args
        constant = next((a for a in args if isinstance(a, int | float)), None)
        nodes = [a for a in args if isinstance(a, fx.Node)]
        if target in IN_PLACE and (lost := lost_value(node)):
            self._problem(node, f"an in-place operation changes {lost}", "write a = a + b, not a += b or a.add_(b)")
        elif target in _ADDITION and len(nodes) == 2 and not node.kwargs:
            self._sum(node, nodes)
        elif target in _MULTIPLICATION and len(nodes) == 1 and constant is not None:
            self._scaled(node, nodes[0], float(constant))
        elif target in _DIVISION and nodes == [args[0]] and constant:
            self._scaled(node, nodes[0], 1 / float(constant))
        elif target in (torch.flatten, "flatten"):
            given = dict(zip(("start_dim", "end_dim"), args[1:], strict=False)) | node.kwargs
            self._flatten(node, given.get("start_dim", 0), given.get("end_dim", -1))
        elif target in (torch.mean, "mean") and self._is_global_mean(node):
            self._global_mean(node)
        elif target in (torch.cat, torch.concat):
            self._concat(node)
        elif target is operator.getitem and self._is_channel_slice(node):
            start = args[1][1].start or 0  # type: ignore[index, union-attr]
            layer = SliceLayer(self._function_name(node, "slice"), self._shape(node), self._source(node), start)
            self._add(node, layer)
        else:
            called = getattr(target, "__name__", target)
            self._problem(node, f"operation '{called}' is not supported", "replace it by a supported one")

    def _sum(self, node: fx.Node, nodes: list[fx.Node]) -> None:
        shapes = [self._shape(n) for n in nodes]
        if shapes[0] != shapes[1]:
            self._problem(node, f"adding {shapes[0]} and {shapes[1]} broadcasts", "add equal shapes")
            return
        sources = tuple(self.names.get(n, "") for n in nodes)
        self._add(node, SumLayer(self._function_name(node, "sum"), shapes[0], sources))

    def _scaled(self, node: fx.Node, source: fx.Node, factor: float) -> None:
        shape = self._shape(node)
        gain = np.full(shape[0], factor)
        name = self._function_name(node, "scaled")
        self._add(node, NormLayer(name, shape, self.names.get(source, ""), gain, np.zeros(shape[0])))

    def _concat(self, node: fx.Node) -> None:
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        parts = node.args[0]
        if axis not in (1, -3) or not isinstance(parts, list | tuple):
            self._problem(node, f"concatenation along axis {axis} is not supported", "concatenate channels: dim=1")
            return
        sources = tuple(self.names.get(p, "") for p in parts if isinstance(p, fx.Node))
        self._add(node, ConcatLayer(self._function_name(node, "cat"), self._shape(node), sources))

    def _is_global_mean(self, node: fx.Node) -> bool:
        axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        spatial = isinstance(axes, tuple | list) and sorted(int(a) % 4 for a in axes) == [2, 3]  # type: ignore[call-overload]
        return spatial and len(self._shape(node.args[0])) == 3

    def _global_mean(self, node: fx.Node) -> None:
        channels, height, width = self._shape(node.args[0])
        op = SumPool((height, width), (height, width))
        name = self._function_name(node, "mean")
        self._add(node, PoolLayer(name, (channels, 1, 1), self._source(node), op, 1 / (height * width)))
        if len(self._shape(node)) == 1:
            self._add(node, FlattenLayer(self._function_name(node, "flat"), (channels,), name))

    def _is_channel_slice(self, node: fx.Node) -> bool:
        index: Any = node.args[1]
        everything = slice(None)
        return (
            isinstance(index, tuple)
            and len(index) >= 2
            and all(i in (everything, ...) for i in (index[0], *index[2:]))
            and isinstance(index[1], slice)
            and index[1].step in (None, 1)
            and all(edge is None or (isinstance(edge, int) and edge >= 0) for edge in (index[1].start, index[1].stop))
        )

    # ------------------------------------------------------------------------------ helpers

    def _add(self, node: fx.Node, layer: Layer) -> None:
        self.layers.append(layer)
        self.names[node] = layer.name

    def _source(self, node: fx.Node) -> str:
        source = node.args[0] if node.args else next(iter(node.kwargs.values()))
        return self.names.get(source, "") if isinstance(source, fx.Node) else ""

    def _shape(self, node: Any) -> Shape:
        return node.meta.get("shape", ()) if isinstance(node, fx.Node) else ()

    def _name(self, path: Any) -> str:
        """A unique node name from a module path; a second call of the same module gets '.call2'."""
        parts = [re.sub(r"\W", "_", part) or "_" for part in str(path).split(".")]
        if not re.match(r"[A-Za-z_]", parts[0]):
            parts[0] = f"layer{parts[0]}"
        if len(parts) == 1 and parts[0] in (INPUT, "readout"):
            parts[0] += "_"
        name = ".".join(parts)
        self.taken[name] += 1
        return name if self.taken[name] == 1 else self._name(f"{name}.call{self.taken[name]}")

    def _function_name(self, node: fx.Node, what: str) -> str:
        path = module_path(node)
        return self._name(f"{path}.{what}" if path else what)

    def _finite(self, node: fx.Node, module: nn.Module) -> bool:
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            # The logits of mixture coefficients are infinite where a coefficient is exactly 0 or 1.
            bad = torch.isnan(tensor) if name.endswith("_logit") else ~torch.isfinite(tensor.float())
            if bad.any():
                index = tuple(int(i) for i in bad.nonzero()[0])
                value = float(tensor.detach()[index])
                problem = f"{name}{list(index)} is {value}"
                self._problem(node, problem, "train again from the last good checkpoint")
                return False
        return True

    def _positive_variance(self, node: fx.Node, norm: Any) -> bool:
        variance = _array(norm.running_var) + norm.eps
        if (variance > 0).all():
            return True
        channel = int(np.argmin(variance))
        problem = f"the variance of channel {channel} plus eps is {variance[channel]:g}"
        self._problem(node, problem, "give the BatchNorm a positive eps, or train its statistics again")
        return False

    def _problem(self, node: fx.Node | None, problem: str, fix: str) -> None:
        where, source = type(self.module).__name__, ""
        if node is not None:
            where = str(node.target) if node.op == "call_module" else (module_path(node) or where)
            source = innermost_line(node.stack_trace or "")
        self.findings.append(Finding(where, problem, fix, source=source))


def _array(tensor: Tensor) -> Array:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _pair(value: Any) -> tuple[int, int]:
    a, b = value if isinstance(value, tuple | list) else (value, value)
    return int(a), int(b)
