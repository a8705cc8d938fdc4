"""The definition: the integer contract in NumPy, one obvious line per equation of docs/numerics.md. Slow is fine."""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .arithmetic import Integers, clamp, integer_range, rshift
from .errors import InputError
from .nodes import (
    INPUT,
    ChannelConv,
    Conv2d,
    HybridFiring,
    LeakyIntegrateAndFire,
    Linear,
    LookupTable,
    MaxPool,
    MultiHierarchical,
    ParallelFiring,
    Population,
    Relay,
    SumPool,
    Synapse,
)
from .program import Program


class Taps(msgspec.Struct, frozen=True, eq=False):
    """Everything an executor must agree on.

    Fields:
        messages: by population, integers of shape (N, T, *population shape).
        logits: int64 (N, classes).
        saturations: by population, int64 (2,): clamps that changed a value, of the state and of the message.
            Empty for executors that do not count them.
    """

    messages: dict[str, NDArray]
    logits: Integers
    saturations: dict[str, Integers] = {}


class Executor(Protocol):
    """Anything that runs a Program; see `verify.compare`."""

    name: str

    def run(self, program: Program, messages: NDArray) -> Taps:
        """`messages`: integers (N, 1 or T, *input shape), as made by `encoder.encode`."""


class Reference:
    """The executor that defines the others."""

    name = "reference"

    def run(self, program: Program, messages: NDArray) -> Taps:
        return run(program, messages)


def run(program: Program, messages: NDArray) -> Taps:
    """Run N samples through all T steps.

    Args:
        messages: integers (N, 1 or T, *input shape) within the input's message range.

    Raises:
        InputError: the array does not fit the program.
    """
    check_messages(program, messages)
    samples, steps = messages.shape[0], program.time_steps
    sent = {p.name: np.zeros((samples, steps, *p.shape), dtype=np.int32) for p in program.populations}
    saturations = {p.name: np.zeros(2, dtype=np.int64) for p in program.populations}
    logits = np.zeros((samples, program.classes), dtype=np.int64)
    neurons = {p.name: _Neurons(p, program.state_bits, samples) for p in program.populations}
    for t in range(steps):
        values: dict[str, Integers] = {INPUT: messages[:, t % program.input_steps].astype(np.int64)}
        for node in program.nodes:
            if isinstance(node, Synapse):
                values[node.name] = accumulate(node, values[node.source])
            else:
                values[node.name] = neurons[node.name].step(t, values)
                sent[node.name][:, t] = values[node.name]
        logits += values[program.readout.source] + program.readout.bias
    for name, state in neurons.items():
        saturations[name][:] = state.saturations
    return Taps(sent, logits, saturations)


def check_messages(program: Program, messages: NDArray) -> None:
    """Raise InputError unless `messages` are integers (N, 1 or T, *input shape) within the message range."""
    wanted = (program.input_steps, *program.input.shape)
    if messages.dtype.kind not in "iu" or messages.ndim < 2 or messages.shape[1:] != wanted:
        raise InputError(
            f"input must be integers of shape (N, {', '.join(map(str, wanted))}), got {messages.dtype} {messages.shape}"
        )
    low, high = program.input.message.range
    if messages.size and (messages.min() < low or messages.max() > high):
        raise InputError(f"input messages must lie in [{low}, {high}] (got {messages.min()}..{messages.max()})")


# --------------------------------------------------------------------------- synapses


def accumulate(synapse: Synapse, source: Integers) -> Integers:
    """acc[o] = sum w * message, exact.

    Args:
        source: int64 (N, *source shape).

    Returns:
        int64 (N, *accumulator shape).
    """
    match synapse.op:
        case Conv2d():
            return _conv2d(synapse, source)
        case Linear():
            return _dot(source.reshape(len(source), -1), synapse.weight.T)  # type: ignore[union-attr]
        case ChannelConv(padding=padding):
            flat = np.pad(source.reshape(len(source), -1), ((0, 0), (padding, padding)))
            return _dot(sliding_window_view(flat, 2 * padding + 1, axis=1), synapse.weight).reshape(source.shape)  # type: ignore[arg-type]
        case SumPool(kernel=kernel, stride=stride, padding=padding):
            return _windows(source, kernel, stride, padding, (1, 1), fill=0).sum(axis=(-2, -1))
        case MaxPool(kernel=kernel, stride=stride, padding=padding):
            lowest = int(np.iinfo(np.int32).min)
            return _windows(source, kernel, stride, padding, (1, 1), fill=lowest).max(axis=(-2, -1))


def _conv2d(synapse: Synapse, source: Integers) -> Integers:
    op, weight = synapse.op, synapse.weight
    assert isinstance(op, Conv2d)
    assert weight is not None
    windows = _windows(source, weight.shape[2:], op.stride, op.padding, op.dilation, fill=0)
    samples, _, height, width = windows.shape[:4]
    fan_in = weight[0].size
    columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(samples * height * width, op.groups, fan_in)
    rows = weight.reshape(op.groups, weight.shape[0] // op.groups, -1)
    products = [_dot(columns[:, g], rows[g].T) for g in range(op.groups)]
    return np.concatenate(products, axis=1).reshape(samples, height, width, len(weight)).transpose(0, 3, 1, 2)


def _windows(
    source: Integers,
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    fill: int,
) -> Integers:
    """Every window of the padded source, (N, C, H_out, W_out, kh, kw)."""
    (ph, pw), (sh, sw), (dh, dw) = padding, stride, dilation
    padded = np.pad(source, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
    reach = (dh * (kernel[0] - 1) + 1, dw * (kernel[1] - 1) + 1)
    return sliding_window_view(padded, reach, axis=(2, 3))[:, :, ::sh, ::sw, ::dh, ::dw]


def _dot(messages: Integers, weight: NDArray) -> Integers:
    """Exact product. Float64 holds it: |message| < 2^16, |weight| <= 2^7, so every partial sum of up to 2^30 terms
    is an integer below 2^53, and float64 products run fast in BLAS where NumPy has no fast integer product."""
    return (messages.astype(np.float64) @ weight.astype(np.float64)).astype(np.int64)


# ------------------------------------------------------------------------- populations


class _Neurons:
    """State of one population for N samples, and its update at one time-step."""

    def __init__(self, population: Population, state_bits: int, samples: int) -> None:
        self.population = population
        self.state_range = integer_range(state_bits, signed=True)
        self.v = np.zeros((samples, *population.shape), dtype=np.int64)
        self.d = np.zeros_like(self.v)
        self.saturations = np.zeros(2, dtype=np.int64)

    def step(self, t: int, values: dict[str, Integers]) -> Integers:
        """One time-step: the message (N, *shape) for the values of all nodes that come before."""
        current = self._current(t, values)
        match self.population.dynamics:
            case Relay():
                return self._message(current)
            case HybridFiring() as n:
                m = self._state(rshift(self._at(t, n.leak) * self.v, n.leak_shift) + current)
                theta = self._at(t, n.threshold)
                self.v = np.minimum(m, theta)
                return self._message(rshift(np.maximum(m - theta, 0), n.spike_shift))
            case ParallelFiring() as n:
                return self._message(rshift(np.maximum(current - self._at(t, n.threshold), 0), n.spike_shift))
            case LeakyIntegrateAndFire() as n:
                m = self._state(rshift(self._at(t, n.leak) * self.v, n.leak_shift) + current)
                return self._fire(m, self._at(t, n.threshold))
            case MultiHierarchical() as n:
                s, d, v = n.leak_shift, self.d, self.v
                self.d = self._state(
                    rshift(self._at(t, n.dendrite_leak) * d, s)
                    + rshift(self._at(t, n.dendrite_feedback) * v, s)
                    + current
                )
                m = self._state(rshift(self._at(t, n.soma_leak) * v, s) + rshift(self._at(t, n.soma_drive) * self.d, s))
                return self._fire(m, self._at(t, n.threshold))
            case LookupTable() as n:
                index = self._clamped(rshift(current, n.index_shift), (-128, 127), 0)
                return n.table[index + 128].astype(np.int64)

    def _current(self, t: int, values: dict[str, Integers]) -> Integers:
        p = self.population
        current = self._at(t, p.bias) + np.zeros_like(self.v)
        for port in p.ports:
            current = current + rshift(self._at(t, port.multiplier) * values[port.source], port.shift)
        if p.gate is not None:
            gate = values[p.gate.source].reshape(len(current), p.shape[0], *(1,) * (len(p.shape) - 1))
            current = rshift(current * gate, p.gate.shift) + self._at(t, p.gate.bias)
        return self._state(current)

    def _fire(self, m: Integers, theta: Integers) -> Integers:
        y = (m >= theta).astype(np.int64)
        self.v = m - y * theta
        return y

    def _at(self, t: int, parameter: NDArray) -> Integers:
        """Row t of a (T or 1, C or 1) parameter, shaped to broadcast over (N, C, ...)."""
        row = parameter[t % len(parameter)].astype(np.int64)
        return row.reshape(-1, *(1,) * (len(self.population.shape) - 1))

    def _state(self, x: Integers) -> Integers:
        return self._clamped(x, self.state_range, 0)

    def _message(self, x: Integers) -> Integers:
        return self._clamped(x, self.population.message.range, 1)

    def _clamped(self, x: Integers, limits: tuple[int, int], kind: int) -> Integers:
        clamped = clamp(x, *limits)
        self.saturations[kind] += np.count_nonzero(clamped != x)
        return clamped
