"""From a Program to an ONNX model: one `Scan` over time whose body is the network (docs/onnx.md)."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from hmdf.sim.contract import (
    INPUT,
    ChannelConv,
    Conv2d,
    Linear,
    MaxPool,
    Population,
    Shape,
    SumPool,
    Synapse,
    WeightedOp,
)
from hmdf.sim.contract.parameters import Parameter, Table, fields_of
from hmdf.sim.errors import ProgramError
from hmdf.sim.files import write_whole
from hmdf.sim.program import Program

from .dynamics import UPDATES
from .functions import DOMAIN, OPSET, REACH, needed_functions, population_operator

FORMAT_VERSION = "1"
IR_VERSION = 8
SAMPLES, STEPS = "N", "T"
WEIGHT_ZERO = 128


def export_onnx(program: Program, taps: bool = False) -> ModelProto:
    """The program as a model of standard ONNX operators, integers only after the input encoder.

    Input `input`: float32 (N, *shape) for a constant input, (N, T, *shape) for frames: the normalised input. Output
    `logits`: int64 (N, classes). With `taps` also `messages/NAME`, int32, for the encoded input (shaped as the input)
    and for every population (N, T, *population shape).

    Raises:
        ProgramError: a sum could leave the range within which ONNX's integer operators are exact.
    """
    _check_reach(program)
    body = _Body(program)
    outer_nodes, tap_outputs = _outer_nodes(program, body, taps)
    steps = (program.time_steps,) if program.input.timing == "frames" else ()
    outputs = [helper.make_tensor_value_info("logits", TensorProto.INT64, [SAMPLES, program.classes]), *tap_outputs]
    graph = helper.make_graph(
        outer_nodes,
        program.metadata.network or "hmdf",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [SAMPLES, *steps, *program.input.shape])],
        outputs,
        [
            numpy_helper.from_array(np.array(program.input.message.scale, np.float64), "input/scale"),
            *(numpy_helper.from_array(array, name) for name, array in body.per_step.items()),
            *(
                numpy_helper.from_array(state.initial, f"{name}.initial")
                for name, state in body.states.items()
                if state.initial is not None
            ),
        ],
    )
    model = helper.make_model(
        graph,
        functions=needed_functions([*body.nodes, *outer_nodes], program.populations),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        ir_version=IR_VERSION,
        producer_name="hmdf",
        producer_version=importlib.metadata.version("hmdf"),
    )
    helper.set_model_props(model, _metadata(program))
    return model


def save_onnx(program: Program, path: str | os.PathLike[str], taps: bool = False) -> None:
    """Write the model of a program; the file appears whole or not at all.

    Raises:
        ProgramError: as `export_onnx`.
        OSError: the folder cannot be written.
    """
    write_whole(path, export_onnx(program, taps).SerializeToString())


def tap_name(source: str) -> str:
    """Name of the output that carries the messages of a population, or of "input"."""
    return f"messages/{source}"


def _metadata(program: Program) -> dict[str, str]:
    """What a user of the model needs to know and the graph does not say; values are text, lists are JSON."""
    message = program.input.message
    return {
        "hmdf.format_version": FORMAT_VERSION,
        "hmdf.tool_version": importlib.metadata.version("hmdf"),
        "hmdf.program_sha256": program.sha256,
        "hmdf.class_names": json.dumps(program.metadata.class_names),
        "hmdf.time_steps": str(program.time_steps),
        "hmdf.input_timing": program.input.timing,
        "hmdf.input_scale": repr(message.scale),
        "hmdf.input_bits": str(message.bits),
        "hmdf.input_signed": json.dumps(message.signed),
        "hmdf.preprocessing": msgspec.json.encode(program.input.preprocessing).decode(),
        "hmdf.logit_scale": repr(program.readout.scale),
    }


# ----------------------------------------------------------------- around the network


def _outer_nodes(program: Program, body: _Body, taps: bool) -> tuple[list[NodeProto], list[ValueInfoProto]]:
    """Encoder, states at rest and the Scan; with `taps`, the outputs that carry messages."""
    low, high = program.input.message.range
    frames = program.input.timing == "frames"
    messages = tap_name(INPUT)
    nodes = [
        _call("Encode", INPUT, [INPUT, "input/scale"], [messages], message_min=low, message_max=high),
        *(_start(name, state, messages) for name, state in body.states.items()),
    ]
    tapped = program.populations if taps else ()
    scan = helper.make_node(
        "Scan",
        [*(f"{s}.rest" for s in body.states), *body.per_step, *((messages,) if frames else ())],
        [
            *("logits" if s == "readout/logits" else f"{s}.final" for s in body.states),
            *(tap_name(p.name) for p in tapped),
        ],
        name="time_steps",
        body=body.graph(tapped),
        num_scan_inputs=len(body.per_step) + frames,
        scan_input_axes=[0] * len(body.per_step) + [1] * frames,
        scan_output_axes=[1] * len(tapped) or None,
    )
    shapes = {p.name: (program.time_steps, *p.shape) for p in tapped}
    if taps:
        shapes[INPUT] = (*((program.time_steps,) if frames else ()), *program.input.shape)
    outputs = [
        helper.make_tensor_value_info(tap_name(name), TensorProto.INT32, [SAMPLES, *shape])
        for name, shape in shapes.items()
    ]
    return [*nodes, scan], outputs


def _start(name: str, state: _State, messages: str) -> NodeProto:
    """What a state is before the first step."""
    function, initial = ("Rest", []) if state.initial is None else ("Start", [f"{name}.initial"])
    rest = f"{name}.rest"
    return _call(function, rest, [messages, *initial], [rest], shape=state.shape, type=state.type)


def _call(function: str, name: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> NodeProto:
    """A node that calls a model-local function."""
    return helper.make_node(function, inputs, outputs, name=name, domain=DOMAIN, **attributes)


# ------------------------------------------------------------------- one time-step


class _State(msgspec.Struct, frozen=True):
    """A value carried from step to step: its ONNX element type, its shape without the samples, and what it is before
    the first step, of a shape that broadcasts; None for 0."""

    type: int
    shape: Shape
    initial: NDArray[np.integer] | None = None


class _Body:
    """The network at one time-step: a node per synapse and population, named as in the program.

    Attributes:
        nodes: in the program's order, the read-out last.
        constants: initializers of the body (weights, parameters that are the same at every step).
        per_step: arrays (T, ...) that Scan hands to the body row by row.
        states: what is carried from step to step.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.per_step: dict[str, np.ndarray] = {"step/index": np.arange(program.time_steps, dtype=np.int64)}
        self.states: dict[str, _State] = {}
        self.values = {INPUT: "input/step" if program.input.timing == "frames" else tap_name(INPUT)}
        before = {
            name: self._state(f"{name}/before", TensorProto.INT32, program.shapes[name])
            for name in sorted(program.remembered)
        }
        for node in program.nodes:
            if isinstance(node, Synapse):
                self._synapse(node, before[node.source] if node.delay else self.values[node.source])
            else:
                self._population(node)
        for name, state in before.items():
            self.nodes.append(helper.make_node("Identity", [self.values[name]], [f"{state}.next"], name=f"{name}.kept"))
        readout = program.readout
        bias = self._constant("readout/bias", readout.bias)
        logits = self._state("readout/logits", TensorProto.INT64, (program.classes,))
        inputs = [self.values[readout.source], bias, logits]
        self.nodes.append(_call("Readout", "readout", inputs, ["readout/logits.next"]))

    def graph(self, tapped: Sequence[Population]) -> onnx.GraphProto:
        """The body of the Scan; its outputs are the next states, then the messages of `tapped`."""
        inputs = [
            helper.make_tensor_value_info(name, state.type, [SAMPLES, *state.shape])
            for name, state in self.states.items()
        ]
        inputs += [
            helper.make_tensor_value_info(f"{name}.now", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape[1:])
            for name, array in self.per_step.items()
        ]
        if self.program.input.timing == "frames":
            shape: list[str | int | None] = [SAMPLES, *self.program.input.shape]
            inputs.append(helper.make_tensor_value_info(self.values[INPUT], TensorProto.INT32, shape))
        outputs = [
            helper.make_tensor_value_info(f"{name}.next", state.type, [SAMPLES, *state.shape])
            for name, state in self.states.items()
        ]
        outputs += [
            helper.make_tensor_value_info(self.values[p.name], TensorProto.INT32, [SAMPLES, *p.shape]) for p in tapped
        ]
        named = {value.name for value in outputs}
        between = [value for value in self._between() if value.name not in named]
        return helper.make_graph(self.nodes, "time_step", inputs, outputs, self.constants, value_info=between)

    def _between(self) -> Iterator[ValueInfoProto]:
        """Type and shape of every accumulator and message, as viewers show them: those of the table of layers."""
        for node in self.program.nodes:
            kind = TensorProto.INT32
            if isinstance(node, Synapse) and isinstance(node.op, WeightedOp):
                kind = TensorProto.INT64 if self.program.message_of(node.source).bits > 8 else kind
            shape: list[str | int | None] = [SAMPLES, *self.program.shapes[node.name]]
            yield helper.make_tensor_value_info(self.values[node.name], kind, shape)

    def _synapse(self, synapse: Synapse, source: str) -> None:
        name, op = synapse.name, synapse.op
        inputs = [source]
        attributes: dict[str, Any] = {}
        function = type(op).__name__
        if isinstance(op, WeightedOp):
            message = self.program.message_of(synapse.source)
            function = f"Wide{function}" if message.bits > 8 else function
            inputs.append(self._constant(f"{name}/weight", _stored_weight(op)))
            attributes = {**_geometry(op), "zero_point": 128 if message.signed else 0}
        else:
            inputs += self._windows(synapse, op)
            if isinstance(op, SumPool):
                inputs.append(self._constant(f"{name}/pads", np.array([0, 0, *op.padding] * 2)))
        self.values[name] = f"{name}/accumulator"
        self.nodes.append(_call(function, name, inputs, [self.values[name]], **attributes))

    def _windows(self, synapse: Synapse, op: SumPool | MaxPool) -> list[str]:
        """Initializers that list, per axis, the positions of every window: (windows, kernel)."""
        source, target = self.program.shapes[synapse.source], self.program.shapes[synapse.name]
        names = []
        for axis, what in enumerate(("rows", "columns")):
            starts = np.arange(target[1 + axis]) * op.stride[axis]
            positions = starts[:, None] + np.arange(op.kernel[axis])
            if isinstance(op, MaxPool):
                positions = np.clip(positions - op.padding[axis], 0, source[1 + axis] - 1)
            names.append(self._constant(f"{synapse.name}/{what}", positions))
        return names

    def _population(self, p: Population) -> None:
        update, name, rank = UPDATES[type(p.dynamics)], p.name, len(p.shape)
        inputs: list[str] = []
        attributes: dict[str, Any] = {}
        for index, port in enumerate(p.ports):
            inputs += [self.values[port.source], self._parameter(f"{name}/multiplier_{index}", port.multiplier, rank)]
            attributes[f"shift_{index}"] = port.shift
        inputs.append(self._parameter(f"{name}/bias", p.bias, rank))
        if p.gate is not None:
            inputs += [self.values[p.gate.source], self._parameter(f"{name}/gate_bias", p.gate.bias, rank)]
            attributes |= {"gate_shift": p.gate.shift, "gate_shape": [0, p.shape[0], *(1,) * (rank - 1)]}
        for field, kind, value in fields_of(p.dynamics):
            if isinstance(kind, Table):
                inputs.append(self._constant(f"{name}/{field}", value))
            elif isinstance(kind, Parameter):
                # What is multiplied is int64; what is compared with a state is int32 like the state.
                number = np.int64 if kind.bits == 16 else np.int32
                inputs.append(self._parameter(f"{name}/{field}", value, rank, number))
            else:
                attributes[field] = value
        attributes |= self._limits(p, ("state_min", "state_max", *update.limits))
        for state in update.states:
            initial = p.initial().get(state)
            start = None if initial is None else initial.astype(np.int32).reshape(1, -1, *(1,) * (rank - 1))
            inputs.append(self._state(f"{name}/{state}", TensorProto.INT32, p.shape, start))
        self.values[name] = f"{name}/message"
        outputs = [self.values[name], *(f"{name}/{s}.next" for s in update.states)]
        self.nodes.append(_call(population_operator(p), name, inputs, outputs, **attributes))

    def _limits(self, population: Population, wanted: Sequence[str]) -> dict[str, int]:
        state = 1 << (self.program.state_bits - 1)
        low, high = population.message.range
        limits = {"state_min": -state, "state_max": state - 1, "message_min": low, "message_max": high}
        return {name: limits[name] for name in wanted}

    def _parameter(self, name: str, array: np.ndarray, rank: int, kind: type[np.integer] = np.int64) -> str:
        """A (T or 1, C or 1) parameter, shaped to broadcast over (N, C, ...)."""
        rows = array.astype(kind).reshape(*array.shape, *(1,) * (rank - 1))
        if len(rows) == 1:
            return self._constant(name, rows[0])
        self.per_step[name] = rows
        return f"{name}.now"

    def _constant(self, name: str, array: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _state(self, name: str, kind: int, shape: Shape, initial: NDArray[np.integer] | None = None) -> str:
        self.states[name] = _State(kind, shape, initial)
        return name


def _geometry(op: WeightedOp) -> dict[str, Any]:
    match op:
        case Conv2d():
            pads = [*op.padding, *op.padding]
            return {"strides": op.stride, "pads": pads, "dilations": op.dilation, "group": op.groups}
        case ChannelConv(padding=padding):
            return {"pads": [padding, 0, padding, 0]}
    return {}


def _stored_weight(op: WeightedOp) -> NDArray[np.uint8]:
    """The weight plus 128 as uint8, laid out as the op's function wants it."""
    weight = (op.weight.astype(np.int16) + WEIGHT_ZERO).astype(np.uint8)
    match op:
        case Linear():
            return weight.T
        case ChannelConv():
            return weight.reshape(1, 1, -1, 1)
    return weight


# ------------------------------------------------------------------- where it is exact


def _check_reach(program: Program) -> None:
    """Refuse what could overflow: a 32-bit sum of low bytes, or a current beyond what the functions take."""
    for node in program.nodes:
        if isinstance(node, Population):
            _check_current(program, node)
        elif isinstance(node.op, WeightedOp) and program.message_of(node.source).bits > 8:
            _check_low_bytes(node, node.op.weight)


def _check_low_bytes(synapse: Synapse, weight: NDArray[np.int8]) -> None:
    rows = np.abs(weight.astype(np.int64)).reshape(1 if weight.ndim == 1 else len(weight), -1)
    largest = 255 * int(rows.sum(axis=1).max())
    if largest >= 1 << 31:
        raise ProgramError(
            f"synapse '{synapse.name}': ONNX adds products in 32 bits, and the low bytes of its messages could reach "
            f"{largest}; use messages of at most 8 bits for '{synapse.source}', or fewer inputs"
        )


def _check_current(program: Program, population: Population) -> None:
    current = _magnitude(population.bias)
    for port in population.ports:
        if isinstance(program.by_name.get(port.source), Synapse):
            largest = 1 << (program.accumulator_bits - 1)
        else:
            largest = max(abs(v) for v in program.message_of(port.source).range)
        current += (largest * _magnitude(port.multiplier) >> port.shift) + 1
    what = "current"
    if population.gate is not None:
        current *= max(abs(v) for v in program.message_of(population.gate.source).range)
        what = "current times the gate"
    if current >= REACH:
        raise ProgramError(
            f"population '{population.name}': its {what} could reach {current}, the ONNX model is exact below {REACH}; "
            "use larger port shifts or fewer gate bits"
        )


def _magnitude(array: np.ndarray) -> int:
    return int(np.abs(array.astype(np.int64)).max())
