"""The text form of a Program: a few lines for each node, in order, for people, bug reports and tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .contract import Message, Op, Population, Port, Synapse, WeightedOp
from .contract.parameters import fields_of
from .contract.struct import Array

if TYPE_CHECKING:
    from .program import Program

_WEIGHTS = {0: "real", 1: "1-bit", 2: "ternary", 4: "4-bit", 8: "8-bit"}


def listing(program: Program, values: int = 4) -> str:
    """The whole program as text.

    Args:
        values: arrays with at most so many different values are written out; others as shape and range.
    """
    head = (
        f"program: {program.time_steps} steps, {program.state_bits}-bit states, "
        f"{program.accumulator_bits}-bit accumulators"
    )
    lines = [head, f"input {by(program.input.shape)}, {program.input.timing}: sends {_message(program.input.message)}"]
    for node in program.nodes:
        if isinstance(node, Synapse):
            lines += [f"{node.name} {by(program.shapes[node.name])} = {op_text(node.op, reads(node), values)}"]
        else:
            lines += [f"{node.name} {by(node.shape)}: sends {_message(node.message)}"]
            lines += [f"    {line}" for line in _population(node, values)]
    bias = array_text(program.readout.bias, values)
    lines.append(f"logits = sum over t of ({program.readout.source} + {bias}), LSB {program.readout.scale:.6g}")
    return "\n".join(lines) + "\n"


class Reads(Protocol):
    """A synapse, in integers or not."""

    @property
    def source(self) -> str: ...

    @property
    def delay(self) -> int: ...


def reads(synapse: Reads) -> str:
    """What a synapse reads: "fire", or "fire[t-1]" at the step before."""
    return f"{synapse.source}[t-1]" if synapse.delay else synapse.source


def by(shape: tuple[int, ...]) -> str:
    """A shape as "32x8x8"."""
    return "x".join(str(extent) for extent in shape)


def array_text(array: Array, values: int) -> str:
    """One number, all numbers of a small array by rows, or shape and range: "7", "[1 2; 3 4]", "<4x32: -5..9>"."""
    if array.size == 1 or np.all(array == array.flat[0]):
        return _number(array.flat[0])
    if array.size <= values:
        rows = array.reshape(-1, array.shape[-1])
        return "[" + "; ".join(" ".join(map(_number, row)) for row in rows) + "]"
    return f"<{by(array.shape)}: {_number(array.min())}..{_number(array.max())}>"


def _number(value: np.generic) -> str:
    return str(value) if isinstance(value, np.integer) else f"{value:.6g}"


def _message(message: Message) -> str:
    return f"{'s' if message.signed else 'u'}{message.bits}, LSB {message.scale:.6g}"


def op_text(op: Op, source: str, values: int) -> str:
    """An op with what it reads, its weights and its geometry, where that is not the usual one."""
    default = type(op).__struct_defaults__
    names = op.__struct_fields__
    optional = dict(zip(names[len(names) - len(default) :], default, strict=True))
    geometry = {name: getattr(op, name) for name in names if name not in ("weight", "weight_bits")}
    shown = [f"{name} {_plain(value)}" for name, value in geometry.items() if optional.get(name) != value]
    if isinstance(op, WeightedOp):
        numbers = f" {array_text(op.weight, values)}" if op.weight.size <= values else ""
        shown.insert(0, f"{_WEIGHTS[op.weight_bits]} weights {by(op.weight.shape)}{numbers}")
    return f"{op.__struct_config__.tag}({source})" + "".join(f", {part}" for part in shown)


def _plain(value: int | tuple[int, ...]) -> str:
    return by(value) if isinstance(value, tuple) else str(value)


def _population(population: Population, values: int) -> Iterator[str]:
    current = " + ".join([*(_port(port, values) for port in population.ports), *_bias(population.bias, values)])
    gate = population.gate
    if gate is not None:
        scaled = f"rshift(({current}) * {gate.source}, {gate.shift})"
        current = " + ".join([scaled, *_bias(gate.bias, values)])
    yield f"I = {current}"
    dynamics = population.dynamics
    fields = [
        f"{name} {array_text(value, values) if isinstance(value, np.ndarray) else value}"
        for name, _, value in fields_of(dynamics)
    ]
    yield f"{dynamics.kind()}" + (f": {', '.join(fields)}" if fields else "")
    if starts := [f"{state} {array_text(value, values)}" for state, value in population.initial().items()]:
        yield f"initially: {', '.join(starts)}"


def _port(port: Port, values: int) -> str:
    if port.shift == 0 and np.all(port.multiplier == 1):
        return port.source
    return f"rshift({array_text(port.multiplier, values)} * {port.source}, {port.shift})"


def _bias(bias: Array, values: int) -> list[str]:
    return [array_text(bias, values)] if bias.any() else []
