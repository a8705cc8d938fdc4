"""Run a FoldedGraph in float64: what the integer program is measured against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hmdf.sim.contract import INPUT, ChannelConv, Conv2d, Linear, MaxPool, SumPool, WeightedOp

from .graph import (
    Array,
    FoldedFiring,
    FoldedGraph,
    FoldedPopulation,
    FoldedRelay,
    FoldedSigmoid,
    FoldedSynapse,
)

Observer = Callable[[str, int, NDArray], NDArray | None]
"""Called with (population, time-step, its messages (N, *shape)); what it gives back is sent instead of them."""


@dataclass(frozen=True)
class Outcome:
    """logits (N, classes), summed over T; `peaks`: by population the largest magnitude of its current or membrane."""

    logits: Array
    peaks: dict[str, float]


def evaluate(
    graph: FoldedGraph, x: NDArray, observe: Observer | None = None, dtype: torch.dtype = torch.float64
) -> Outcome:
    """Run N samples of normalised input, (N, *input shape) or (N, T, *input shape), through all steps.

    Args:
        observe: sees every population's messages as they are made (nothing is kept otherwise), and may replace them.
    """
    values = torch.as_tensor(np.asarray(x)).to(dtype)
    framed = values.dim() == len(graph.input_shape) + 2
    states: dict[str, Tensor] = {}
    peaks = {n.name: 0.0 for n in graph.nodes if isinstance(n, FoldedPopulation)}
    logits = np.zeros((len(values), graph.readout_classes))
    weights = {
        n.name: torch.tensor(n.op.weight, dtype=dtype)
        for n in graph.nodes
        if isinstance(n, FoldedSynapse) and isinstance(n.op, WeightedOp)
    }
    with torch.inference_mode():
        for t in range(graph.time_steps):
            at_step = {INPUT: values[:, t] if framed else values}
            for node in graph.nodes:
                if isinstance(node, FoldedSynapse):
                    at_step[node.name] = _accumulate(node, weights, at_step[node.source])
                    continue
                message, peak = _update(node, t, at_step, states)
                peaks[node.name] = max(peaks[node.name], peak)
                replaced = None if observe is None else observe(node.name, t, message.numpy())
                at_step[node.name] = message if replaced is None else torch.from_numpy(replaced).to(dtype)
            logits = logits + at_step[graph.readout].double().numpy() * graph.readout_gain + graph.readout_bias
    return Outcome(logits, peaks)


def _accumulate(synapse: FoldedSynapse, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    match synapse.op:
        case SumPool(kernel=kernel, stride=stride, padding=padding):
            return functional.avg_pool2d(x, kernel, stride, padding, divisor_override=1)
        case MaxPool(kernel=kernel, stride=stride, padding=padding):
            return functional.max_pool2d(x, kernel, stride, padding)
        case _:
            return _weighted(synapse, weights[synapse.name], x)


def _weighted(synapse: FoldedSynapse, weight: Tensor, x: Tensor) -> Tensor:
    match synapse.op:
        case Conv2d(stride=stride, padding=padding, dilation=dilation, groups=groups):
            return functional.conv2d(x, weight, None, stride, padding, dilation, groups)
        case Linear():
            return functional.linear(x.flatten(1), weight)
        case ChannelConv(padding=centre):
            return functional.conv1d(x.flatten(1)[:, None], weight[None, None], padding=centre).reshape(x.shape)
        case _:
            raise AssertionError(f"{synapse.name} has no weights")


def _update(
    node: FoldedPopulation, t: int, values: dict[str, Tensor], states: dict[str, Tensor]
) -> tuple[Tensor, float]:
    """Message of one population at step t, and the largest magnitude of its current or membrane."""

    some = values[INPUT]

    def at(parameter: Array) -> Tensor:
        row = torch.tensor(parameter[t % len(parameter)], dtype=some.dtype)
        return row.reshape(-1, *(1,) * (len(node.shape) - 1))

    current = at(node.bias) + sum(at(port.gain) * values[port.source] for port in node.ports)
    if node.gate is not None:
        gate = values[node.gate.source].reshape(len(current), -1, *(1,) * (len(node.shape) - 1))
        current = current * gate + at(node.gate.bias)
    peak = float(current.abs().max())
    match node.dynamics:
        case FoldedRelay():
            return current, peak
        case FoldedSigmoid():
            return torch.sigmoid(current), peak
    n: FoldedFiring = node.dynamics
    m = current
    if n.kind != "parallel" and node.name in states:
        m = at(n.leak) * states[node.name] + current
    theta = at(n.threshold)
    if n.kind == "lif":
        s = (m >= theta).to(m.dtype)
        states[node.name] = m - s * theta
    else:
        s = torch.relu(m - theta)
        states[node.name] = torch.minimum(m, theta)
        if n.spike is not None:
            s = (s / n.spike.lsb).round().clamp(0, 2**n.spike.bits - 1) * n.spike.lsb
    return s, max(peak, float(m.abs().max()))
