"""Run a FoldedGraph in floats: what the integer program is measured against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hmdf.sim.contract import INPUT, ChannelConv, Conv2d, Linear, Op, SumPool, WeightedOp

from .graph import Array, Fired, FoldedGraph, FoldedPopulation, FoldedSynapse

Observer = Callable[[str, int, np.ndarray], np.ndarray | None]
"""Called with (population, time-step, its messages (N, *shape)); what it returns is sent instead of them."""


@dataclass(frozen=True)
class FloatRun:
    """logits (N, classes), summed over T; `peaks`: by population the largest magnitude of its current or membrane."""

    logits: Array
    peaks: dict[str, float]


def evaluate(
    graph: FoldedGraph, x: np.ndarray, observe: Observer | None = None, dtype: torch.dtype = torch.float64
) -> FloatRun:
    """Run N samples of normalised input, (N, *input shape) or (N, T, *input shape), through all steps.

    Args:
        observe: sees every population's messages as they are made (nothing is kept otherwise), and may replace them.
    """
    values = torch.as_tensor(np.asarray(x)).to(dtype)
    framed = values.dim() == len(graph.input_shape) + 2
    states: dict[str, tuple[Tensor, ...]] = {p.name: () for p in graph.populations}
    peaks = dict.fromkeys(states, 0.0)
    logits = np.zeros((len(values), graph.readout_classes))
    weights = {s.name: torch.tensor(s.op.weight, dtype=dtype) for s in graph.synapses if isinstance(s.op, WeightedOp)}
    before = {p.name: torch.zeros(len(values), *p.shape, dtype=dtype) for p in graph.populations}
    with torch.inference_mode():
        for t in range(graph.time_steps):
            at_step = {INPUT: values[:, t] if framed else values}
            for node in graph.nodes:
                if isinstance(node, FoldedSynapse):
                    read = before if node.delay else at_step
                    at_step[node.name] = _accumulate(node.op, read[node.source], weights.get(node.name))
                    continue
                current, fired = _update(node, t, at_step, states[node.name])
                states[node.name] = fired.state
                peaks[node.name] = max(peaks[node.name], *(float(x.abs().max()) for x in (current, fired.membrane)))
                replaced = None if observe is None else observe(node.name, t, fired.message.numpy())
                at_step[node.name] = fired.message if replaced is None else torch.from_numpy(replaced).to(dtype)
            before = at_step
            logits = logits + at_step[graph.readout].double().numpy() * graph.readout_gain + graph.readout_bias
    return FloatRun(logits, peaks)


def _accumulate(op: Op, x: Tensor, weight: Any) -> Tensor:
    """`weight`: None for a pool."""
    if isinstance(op, Conv2d):
        return functional.conv2d(x, weight, None, op.stride, op.padding, op.dilation, op.groups)
    if isinstance(op, Linear):
        return functional.linear(x.flatten(1), weight)
    if isinstance(op, ChannelConv):
        return functional.conv1d(x.flatten(1)[:, None], weight[None, None], padding=op.padding).reshape(x.shape)
    if isinstance(op, SumPool):
        return functional.avg_pool2d(x, op.kernel, op.stride, op.padding, divisor_override=1)
    return functional.max_pool2d(x, op.kernel, op.stride, op.padding)


def _update(
    node: FoldedPopulation, t: int, values: Mapping[str, Tensor], state: tuple[Tensor, ...]
) -> tuple[Tensor, Fired]:
    """The current of one population at step t, and what its neurons make of it."""
    dtype, channels = values[INPUT].dtype, (-1, *(1,) * (len(node.shape) - 1))

    def at(parameter: Array) -> Tensor:
        return torch.tensor(parameter[t % len(parameter)], dtype=dtype).reshape(channels)

    current = at(node.bias) + sum(at(port.gain) * values[port.source] for port in node.ports)
    if node.gate is not None:
        current = current * values[node.gate.source].reshape(len(current), *channels) + at(node.gate.bias)
    return current, node.dynamics.step(current, state, at)
