"""From a NIR graph to a LayerGraph: linear nodes as they are, neurons as difference equations.

Membranes are shifted and scaled so that every neuron starts, and is reset, at 0 and fires at 1: per-neuron thresholds,
resistances and leak voltages become gains and offsets of the currents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from msgspec import structs

from hmdf.sim.contract import INPUT, Conv2d, Linear, Shape, SumPool
from hmdf.sim.errors import ProgramError
from hmdf.sim.finding import Finding

from ..errors import CompileError
from ..graph import (
    Array,
    BeforeLayer,
    FiringLayer,
    FlattenLayer,
    FloatDynamics,
    InputLayer,
    Layer,
    LayerGraph,
    NormLayer,
    PoolLayer,
    SumLayer,
    WeightLayer,
)
from ..neurons import (
    FloatCurrentBasedLeakyIntegrateAndFire,
    FloatHardResetIntegrateAndFire,
    FloatLeakyIntegrateAndFire,
    FloatLeakyIntegrator,
    FloatMultiHierarchical,
)
from .dialect import MESSAGE_SCALE, Dialect
from .units import PASSED_ON, NodeNames, Unit, array_of, units_of

SUPPORTED = (
    "supported are Input, Output, Affine, Linear, Conv1d, Conv2d, SumPool2d, AvgPool2d, Flatten, Scale, Threshold, "
    "Delay of whole time steps, IF, LIF, CubaLIF, I, LI, CubaLI, and graphs of these"
)
MOST_DELAY = 64
"""Time steps of a Delay, each of which is a population."""
MOST_INTEGER = 1 << 31
LARGEST = 1e9
"""Largest magnitude of a parameter after its scaling: far beyond what 24-bit states hold."""


_ZERO, _ONE = np.zeros((1, 1)), np.ones((1, 1))


class Unsupported(Exception):  # noqa: N818 - a finding in the making
    """What a node has that a program cannot have."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem, self.fix = problem, fix


def layers_of(graph: Any, dialect: Dialect, time_steps: int, shape: Shape | None = None) -> LayerGraph:
    """The layers of a NIR graph with T = `time_steps`.

    Args:
        shape: of a sample at one time-step, (C, H, W) or (F,); that of the graph's Input when absent.

    Raises:
        CompileError: with a finding for every node that cannot be compiled.
    """
    made, units = _Made(dialect), units_of(graph)
    findings: list[Finding] = []
    failed: set[str] = set()
    if any(unit.late for unit in units):
        made.later, findings = _shapes_without_late(units, dialect, shape)
        failed |= {unit.name for unit in units if unit.late - set(made.later)}
    for unit in units:
        if unit.name in failed or failed & set(unit.sources):
            failed.add(unit.name)
            if unit.kind in _MAKERS:  # Its shape is unknown; whether its kind is supported is known.
                continue
        try:
            made.current[unit.name] = _make(made, unit, shape)
        except Unsupported as error:
            findings.append(Finding(unit.name, error.problem, error.fix))
            failed.add(unit.name)
    if findings:
        raise CompileError(list(dict.fromkeys(findings)), SUPPORTED)
    layers = (
        replace(layer, sources=tuple(made.current[source] for source in layer.sources))
        if isinstance(layer, BeforeLayer)
        else layer
        for layer in made.layers
    )
    return LayerGraph(time_steps, tuple(layers), made.output)


def _shapes_without_late(
    units: tuple[Unit, ...], dialect: Dialect, shape: Shape | None
) -> tuple[dict[str, Shape], list[Finding]]:
    """The shapes of all nodes, from the network without what it reads of the step before; and what is wrong in it."""
    made, findings = _Made(dialect), []
    for unit in units:
        kept = tuple(source for source in unit.sources if source in made.current and source not in unit.late)
        if not kept and unit.kind != "Input":
            continue
        try:
            made.current[unit.name] = _make(made, replace(unit, sources=kept, late=frozenset()), shape)
        except Unsupported as error:
            findings.append(Finding(unit.name, error.problem, error.fix))
    return {name: made.shapes[layer] for name, layer in made.current.items()}, findings


def input_extents(graph: Any) -> tuple[int, ...]:
    """The extents of the graph's input, as its writer has them: a batch and time-steps may lead them.

    Raises:
        CompileError: it has no input, or its extents are not given.
    """
    unit = next(unit for unit in units_of(graph) if unit.kind == "Input")
    try:
        return _extents(unit.values["input_type"].get("input"))
    except Unsupported as error:
        raise CompileError([Finding(unit.name, error.problem, error.fix)]) from None


@dataclass
class _Made:
    """The layers so far; `current` has, by node of NIR, the layer of its value, `later` the shapes of all in a cycle.

    A BeforeLayer reads a node of NIR until all layers are made.
    """

    dialect: Dialect
    layers: list[Layer] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    current: dict[str, str] = field(default_factory=dict)
    later: dict[str, Shape] = field(default_factory=dict)
    binary: set[str] = field(default_factory=set)
    before: set[str] = field(default_factory=set)
    names: NodeNames = field(default_factory=NodeNames)
    output: str = ""

    def add(self, layer: Layer) -> str:
        self.layers.append(layer)
        self.shapes[layer.name] = layer.shape
        return layer.name


def _make(made: _Made, unit: Unit, shape: Shape | None) -> str:
    """Add the layers of a node; returns the name of the last."""
    if unit.kind == "Input":
        return _input(made, unit, shape)
    if unit.kind not in _MAKERS:
        raise Unsupported(f"{unit.kind} is not supported", "replace it by a supported node")
    if not unit.sources:
        raise Unsupported(f"{unit.kind} reads nothing", "connect it to the input")
    sources = tuple(_before(made, unit, s) if s in unit.late else made.current[s] for s in unit.sources)
    source = sources[0]
    if len(sources) > 1:
        shapes = {made.shapes[s] for s in sources}
        if len(shapes) > 1:
            raise Unsupported(f"it adds values of the shapes {sorted(shapes)}", "make their shapes equal")
        source = made.add(SumLayer(made.names.of(unit, "_sum"), made.shapes[source], sources))
    return _MAKERS[unit.kind](made, unit, source)


def _before(made: _Made, unit: Unit, source: str) -> str:
    """The spikes of `source` at the step before, for a node."""
    name = made.add(BeforeLayer(made.names.of(unit, "_before"), made.later[source], (source,)))
    made.binary.add(name)
    made.before.add(name)
    return name


# ------------------------------------------------------------------------------------ shapes


def _extents(value: Any) -> tuple[int, ...]:
    if value is None:
        raise Unsupported("the shape of its input is not given", "write it into the Input node")
    extents = _integers("the shape of its input", value)
    if min(extents, default=0) < 1:
        raise Unsupported(f"its shape {extents} has no elements", "give positive extents")
    return extents


def canonical(extents: tuple[int, ...]) -> Shape:
    """(F,), (C, H, W); (C, L) as (C, 1, L); extents of 1 that lead more axes than three are batches."""
    while len(extents) > 3 and extents[0] == 1:
        extents = extents[1:]
    if len(extents) == 2:
        return (extents[0], 1, extents[1])
    if len(extents) not in (1, 3):
        raise Unsupported(f"a shape of {extents} has too many axes", "use (F,), (C, L) or (C, H, W)")
    return extents


def _input(made: _Made, unit: Unit, shape: Shape | None) -> str:
    """The input in the samples' shape; flattened where the graph has it flat. Its extents may lead with a batch."""
    extents = _extents(unit.values["input_type"].get("input"))
    size = prod(extents) if shape is None else prod(shape)
    fitting = [extents[i:] for i in range(len(extents)) if prod(extents[i:]) == size]
    own = canonical(fitting[0]) if fitting else None
    if own is None or (shape not in (None, own) and len(own) > 1 and prod(own) != max(own)):
        raise Unsupported(f"takes {extents}, but the samples are {shape} at a time step", "give samples of its shape")
    made.names.of(unit)
    name = made.add(InputLayer(INPUT, shape or own, ()))
    if shape in (None, own):
        return name
    return made.add(FlattenLayer(made.names.of(unit, "_flat"), (prod(own),), (name,)))


def _flat(made: _Made, unit: Unit, source: str) -> str:
    """The source without positions; a Flatten is added where all but one of its extents are 1."""
    shape = made.shapes[source]
    if len(shape) == 1:
        return source
    if prod(shape) != max(shape):
        raise Unsupported(f"reads {shape}, which is not flat", "put a Flatten before it")
    return made.add(FlattenLayer(made.names.of(unit, "_flat"), (prod(shape),), (source,)))


def _parameter(unit: Unit, name: str) -> Array:
    """A finite float64 array."""
    if unit.values.get(name) is None:
        raise Unsupported(f"has no {name}", "write it")
    return _finite(f"its {name}", unit.values[name])


def _finite(what: str, value: Any) -> Array:
    try:
        array = array_of(value)
    except (TypeError, ValueError):
        raise Unsupported(f"{what} is no array of numbers", "write numbers") from None
    bad = ~np.isfinite(array)
    if bad.any():
        raise Unsupported(f"{what} has the value {array[bad].flat[0]}", "write finite values")
    return array


def _integers(what: str, value: Any, sizes: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Integers below 2^31, in one of these numbers, if any."""
    values = _finite(what, value).ravel()
    if sizes and values.size not in sizes:
        raise Unsupported(f"{what} has {values.size} values", f"give {' or '.join(map(str, sizes))}")
    if (bad := (np.rint(values) != values) | (np.abs(values) >= MOST_INTEGER)).any():
        raise Unsupported(f"{what} has the value {values[bad][0]:g}", "write integers below 2^31")
    return tuple(int(v) for v in values)


def _positive(what: str, value: Any) -> float:
    number = _finite(what, value)
    if number.size != 1 or not 0 < number.flat[0] <= LARGEST:
        raise Unsupported(f"{what} is {value}", "write one positive number")
    return float(number.flat[0])


def _check_size(what: str, *values: Array) -> None:
    largest = max(float(np.abs(value).max(initial=0)) for value in values)
    if not largest <= LARGEST:
        raise Unsupported(f"{what} is {largest:g}, beyond what states hold", "scale it down")


def _per_channel(unit: Unit, name: str, shape: Shape, array: Array | None = None) -> Array:
    """A parameter as (C,): one number, one for each channel or one for each neuron, all alike within a channel."""
    array = _parameter(unit, name) if array is None else array
    if array.size == 1:
        return np.full(shape[0], array.flat[0])
    try:
        full = array.reshape(shape) if array.size == prod(shape) else np.broadcast_to(np.squeeze(array), shape)
    except ValueError:
        if array.size != shape[0]:
            problem = f"its {name} has the shape {array.shape}, its neurons {shape}"
            raise Unsupported(problem, "give one value, or one for each neuron") from None
        full = np.broadcast_to(array.reshape(-1, *(1,) * (len(shape) - 1)), shape)
    values = full.reshape(shape[0], -1)
    if not np.all(values == values[:, :1]):
        worst = int(np.ptp(values, axis=1).argmax())
        low, high = values[worst].min(), values[worst].max()
        problem = f"its {name} differs within channel {worst}, from {low:g} to {high:g}"
        raise Unsupported(problem, "a program has one value for each channel: make them equal within a channel")
    return values[:, 0].copy()


# ------------------------------------------------------------------------------ linear nodes


def _weight(made: _Made, unit: Unit, source: str, op: Conv2d | Linear, bias: Array) -> str:
    weight = op.weight
    _check_size("its largest weight or bias", weight, bias)
    try:
        shape = op.output_shape(made.shapes[source])
    except ProgramError as error:
        raise Unsupported(str(error), "make its weight fit what it reads") from None
    if bias.shape != (shape[0],):
        raise Unsupported(f"its bias has the shape {bias.shape}, its output {shape[0]} channels", "give one a channel")
    op, scale = _low_bit(op)
    return made.add(WeightLayer(made.names.of(unit), shape, (source,), op, scale, bias))


def _low_bit(op: Conv2d | Linear) -> tuple[Conv2d | Linear, Array]:
    """Weights that are {-s, 0, s} in every output channel as ternary ones, or 1-bit ones, with that scale: exactly."""
    weight = op.weight
    scale = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scale = np.where(scale > 0, scale, 1.0)
    signs = weight / scale.reshape(-1, *(1,) * (weight.ndim - 1))
    if not np.isin(signs, (-1, 0, 1)).all():
        return op, np.ones(len(weight))
    return structs.replace(op, weight=signs, weight_bits=2 if (signs == 0).any() else 1), scale


def _linear(made: _Made, unit: Unit, source: str) -> str:
    weight = _parameter(unit, "weight")
    if weight.ndim != 2 or not weight.size:
        raise Unsupported(f"its weight has the shape {weight.shape}", "use (outputs, inputs)")
    bias = _parameter(unit, "bias") if unit.kind == "Affine" else np.zeros(len(weight))
    return _weight(made, unit, _flat(made, unit, source), Linear(weight, 0), bias)


def _convolution(made: _Made, unit: Unit, source: str) -> str:
    weight, axes = _parameter(unit, "weight"), 1 if unit.kind == "Conv1d" else 2
    if weight.ndim != axes + 2 or not weight.size:
        raise Unsupported(f"its weight has the shape {weight.shape}", f"use {axes + 2} axes: outputs, inputs, kernel")
    kernel = weight.shape[2:]
    stride, dilation = (_pair(unit, name, axes) for name in ("stride", "dilation"))
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
        both = _pair(unit, "padding", axes, fill=0)
    (groups,) = _integers("its groups", unit.values.get("groups"), (1,))
    weight = weight.reshape(*weight.shape[:2], *(1,) * (2 - axes), *kernel)
    given = unit.values.get("bias")
    bias = np.zeros(len(weight)) if given is None else _parameter(unit, "bias")
    op = Conv2d(weight, 0, stride=stride, padding=both, dilation=dilation, groups=groups)
    return _weight(made, unit, source, op, bias)


def _pair(unit: Unit, name: str, axes: int = 2, fill: int = 1) -> tuple[int, int]:
    """An int, or one for each axis, as (rows, columns)."""
    values = _integers(f"its {name}", unit.values.get(name), (1, axes))
    if axes == 1:
        return (fill, values[0])
    return (values[0], values[-1])


def _pool(made: _Made, unit: Unit, source: str) -> str:
    op = SumPool(_pair(unit, "kernel_size"), _pair(unit, "stride"), _pair(unit, "padding"))
    try:
        shape = op.output_shape(made.shapes[source])
    except ProgramError as error:
        raise Unsupported(str(error), "make its window fit what it reads") from None
    factor = 1 / prod(op.kernel) if unit.kind == "AvgPool2d" else 1.0
    return made.add(PoolLayer(made.names.of(unit), shape, (source,), op, factor))


def _flatten(made: _Made, unit: Unit, source: str) -> str:
    shape = made.shapes[source]
    if len(shape) == 1:
        return source
    start, end = (_integers(f"its {name}", unit.values.get(name), (1,))[0] for name in ("start_dim", "end_dim"))
    inner = shape if start in (0, -3) else shape[start:]
    if end not in (-1, 2) or prod(inner) != prod(shape):
        raise Unsupported(f"flattens axes {start}..{end} of {shape}, not all of them", "flatten from axis 0 to -1")
    return made.add(FlattenLayer(made.names.of(unit), (prod(shape),), (source,)))


def _scale(made: _Made, unit: Unit, source: str) -> str:
    shape = made.shapes[source]
    gain = _per_channel(unit, "scale", shape)
    _check_size("its scale", gain)
    return made.add(NormLayer(made.names.of(unit), shape, (source,), gain, np.zeros(shape[0])))


def _passed_on(made: _Made, unit: Unit, source: str) -> str:
    return source


def _output(made: _Made, unit: Unit, source: str) -> str:
    made.output = source
    return source


# ------------------------------------------------------------------------------------ neurons


def _neurons(made: _Made, unit: Unit, source: str, gain: Array, offset: Array, neuron: FloatDynamics) -> str:
    """Neurons that read gain * source + offset, both (C,)."""
    shape = made.shapes[source]
    _check_size("the factor of its current", gain, offset)
    if not (np.all(gain == 1) and np.all(offset == 0)):
        source = made.add(NormLayer(made.names.of(unit, "_current"), shape, (source,), gain, offset))
    return made.add(FiringLayer(made.names.of(unit), shape, (source,), neuron, None))


def _fires(made: _Made, name: str) -> str:
    made.binary.add(name)
    return name


def _integrate_and_fire(made: _Made, unit: Unit, source: str) -> str:
    """IF, LIF: u = (v - v_reset) / (v_threshold - v_reset), u <- k u + gain I + offset."""
    shape = made.shapes[source]
    start, height = _start_and_height(unit, shape)
    kept, gain, offset = _membrane(made, unit, shape, start)
    return _fires(made, _neurons(made, unit, source, gain / height, offset / height, _neuron(made.dialect, kept)))


def _current_based(made: _Made, unit: Unit, source: str) -> str:
    """CubaLIF: the same membrane, driven by i <- k_syn i + (1 - k_syn) w_in S; both in units of the threshold."""
    shape, reset = made.shapes[source], made.dialect.reset
    start, height = _start_and_height(unit, shape)
    kept, gain, offset = _membrane(made, unit, shape, start)
    kept_current, taken = _synapse(made, unit, shape)
    gain, offset, nothing = taken * gain / height, offset / height, np.zeros(shape[0])
    if reset == "value":
        leaks = (_row(kept_current), _row(kept))
        neuron = FloatCurrentBasedLeakyIntegrateAndFire(_ONE, made.dialect.above, *leaks, _row(offset))
        return _fires(made, _neurons(made, unit, source, gain, nothing, neuron))
    if reset == "subtract" and not offset.any():
        both = _two_states(_row(kept_current), _ZERO, _row(kept), _ONE)
        return _fires(made, _neurons(made, unit, source, gain, nothing, both))
    current = FloatLeakyIntegrator(_row(kept_current))
    source = _neurons(made, replace(unit, name=f"{unit.name}.synapse"), source, gain, nothing, current)
    return _fires(made, _neurons(made, unit, source, np.ones(shape[0]), offset, _neuron(made.dialect, kept)))


def _integrator(made: _Made, unit: Unit, source: str) -> str:
    """I, LI, CubaLI: v starts at v_leak. The current of CubaLI is a population of its own."""
    shape = made.shapes[source]
    start = np.zeros(shape[0]) if unit.kind == "I" else _per_channel(unit, "v_leak", shape)
    kept, gain, nothing = _membrane(made, unit, shape, start)
    if unit.kind == "CubaLI":
        kept_current, taken = _synapse(made, unit, shape)
        current = FloatLeakyIntegrator(_row(kept_current))
        source = _neurons(made, replace(unit, name=f"{unit.name}.synapse"), source, taken, nothing, current)
    metadata = unit.values.get("metadata")
    lsb = metadata.get(MESSAGE_SCALE) if isinstance(metadata, Mapping) else None
    neuron = FloatLeakyIntegrator(_row(kept), None if lsb is None else _positive(MESSAGE_SCALE, lsb))
    name = _neurons(made, unit, source, gain, nothing, neuron)
    if not start.any():
        return name
    _check_size("its v_leak", start)
    return made.add(NormLayer(made.names.of(unit, "_voltage"), shape, (name,), np.ones(shape[0]), start))


def _membrane(made: _Made, unit: Unit, shape: Shape, start: Array) -> tuple[Array, Array, Array]:
    """k, gain and offset of v - start <- k (v - start) + gain I + offset, (C,) each."""
    r = _per_channel(unit, "r", shape)
    if unit.kind in ("I", "IF"):
        step = 1.0 if made.dialect.impulses else made.dialect.time_step
        return np.ones(shape[0]), step * r, np.zeros(shape[0])
    kept = _kept(made, unit, "tau_mem" if unit.kind.startswith("Cuba") else "tau", shape)
    return kept, (1 - kept) * r, (1 - kept) * (_per_channel(unit, "v_leak", shape) - start)


def _synapse(made: _Made, unit: Unit, shape: Shape) -> tuple[Array, Array]:
    """What the current of a current-based neuron keeps of itself and takes in, (C,) each."""
    kept, weight = _kept(made, unit, "tau_syn", shape), _per_channel(unit, "w_in", shape)
    return kept, weight if made.dialect.impulses else (1 - kept) * weight


def _start_and_height(unit: Unit, shape: Shape) -> tuple[Array, Array]:
    """v_reset, where a membrane starts, and how far the threshold is above it."""
    start = np.zeros(shape[0]) if unit.values.get("v_reset") is None else _per_channel(unit, "v_reset", shape)
    height = _per_channel(unit, "v_threshold", shape) - start
    if (height <= 0).any():
        raise Unsupported(f"its threshold is {height.min():g} above its v_reset", "it must be above it")
    return start, height


def _kept(made: _Made, unit: Unit, name: str, shape: Shape) -> Array:
    tau, step = _per_channel(unit, name, shape), made.dialect.time_step
    if (tau <= 0).any():
        raise Unsupported(f"its {name} is {tau.min():g}", "a time constant is positive")
    kept = made.dialect.kept(tau)
    if (kept < -1e-6).any():
        problem = f"its {name} of {tau.min():g} is shorter than a time step of {step:g}"
        raise Unsupported(problem, "give a shorter --time-step, in the unit of tau")
    return np.maximum(kept, 0)


def _neuron(dialect: Dialect, kept: Array) -> FloatDynamics:
    """A neuron that fires at 1; kept: (C,)."""
    if dialect.reset == "value":
        return FloatHardResetIntegrateAndFire(_ONE, dialect.above, _row(kept))
    if dialect.reset == "subtract-later" and not np.all(kept == 1):
        # The dendrite d is m, the soma v is m - spike, so the last spike is d - v: m <- k m - (d - v) + I.
        return _two_states(_row(kept) - 1, _ONE, _ZERO, _ONE)
    return FloatLeakyIntegrateAndFire(_ONE, 1.0, _ZERO, _row(kept))


def _two_states(dendrite: Array, feedback: Array, soma: Array, drive: Array) -> FloatDynamics:
    return FloatMultiHierarchical(_ONE, 1.0, _ZERO, dendrite, feedback, soma, drive)


def _row(values: Array) -> Array:
    """(C,) as (1, C), or (1, 1) where all channels agree."""
    return values[None, :1] if np.all(values == values[0]) else values[None]


def _threshold(made: _Made, unit: Unit, source: str) -> str:
    shape = made.shapes[source]
    height = _per_channel(unit, "threshold", shape)
    positive = bool((height > 0).all())
    gain, offset = (1 / height, np.zeros(shape[0])) if positive else (np.ones(shape[0]), 1 - height)
    forgetful = FloatHardResetIntegrateAndFire(_ONE, made.dialect.above, _ZERO)
    return _fires(made, _neurons(made, unit, source, gain, offset, forgetful))


def _delay(made: _Made, unit: Unit, source: str) -> str:
    """A spike a step later: m = 2 v + x, a spike where m >= 2, v <- m - 2 spike, so v is always the last x.

    What is read of the step before has waited for one of the steps.
    """
    shape = made.shapes[source]
    delay = _per_channel(unit, "delay", shape) / made.dialect.time_step
    steps = float(np.rint(delay[0]))
    if not np.allclose(delay, steps, atol=1e-3):
        problem = f"delays by {delay.min():g} to {delay.max():g} time steps"
        raise Unsupported(problem, "one whole number of time steps for all its values is possible")
    if not 0 <= steps <= MOST_DELAY:
        raise Unsupported(f"delays by {steps:g} time steps", f"0..{MOST_DELAY} are possible")
    if steps and source not in made.binary:
        raise Unsupported("delays what are no binary spikes", "put it right behind a layer of spiking neurons")
    two = np.full((1, 1), 2.0)
    count = int(steps) - (steps > 0 and source in made.before)
    for step in range(count):
        suffix = "" if step == count - 1 else f"_{step + 1}"
        neuron = FloatLeakyIntegrateAndFire(two, 1.0, _ZERO, two)
        source = made.add(FiringLayer(made.names.of(unit, suffix), shape, (source,), neuron, None))
        made.binary.add(source)
    return source


_MAKERS: Mapping[str, Callable[[_Made, Unit, str], str]] = {
    "Output": _output,
    PASSED_ON: _passed_on,
    "Linear": _linear,
    "Affine": _linear,
    "Conv1d": _convolution,
    "Conv2d": _convolution,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Flatten": _flatten,
    "Scale": _scale,
    "Threshold": _threshold,
    "Delay": _delay,
    "IF": _integrate_and_fire,
    "LIF": _integrate_and_fire,
    "CubaLIF": _current_based,
    "I": _integrator,
    "LI": _integrator,
    "CubaLI": _integrator,
}
