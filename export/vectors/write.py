"""Writes golden vectors: what every node gives at every step, as plain binary and as `$readmemh` text."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim import reference
from hmdf.sim.arithmetic import Integers
from hmdf.sim.contract import INPUT, Population, Synapse, WeightedOp
from hmdf.sim.contract.message import Message
from hmdf.sim.contract.parameters import Table, fields_of
from hmdf.sim.errors import ProgramError
from hmdf.sim.executor import check_messages
from hmdf.sim.program import Program

Kind = Literal["message", "accumulator", "state", "logits", "weight", "parameter", "table"]


class Vectors(msgspec.Struct, frozen=True):
    """One array, in C order, in two files: `name`.bin, little-endian, and `name`.hex, one integer a line.

    Attributes:
        name: file name without its ending.
        node, kind: of what; "message" of "input" is what enters.
        what: which state or parameter; "" elsewhere.
        shape: (samples, steps, ...) of what differs by sample; (steps or 1, channels or 1) of a parameter.
        bits: width in the text, in two's complement when `signed`.
        dtype: of the binary: "<i4" is a little-endian signed integer of 4 bytes.
        sha256: of the binary.
    """

    name: str
    node: str
    kind: Kind
    what: str
    shape: tuple[int, ...]
    bits: int
    signed: bool
    dtype: str
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """manifest.json: which program, and what is in every file.

    Attributes:
        program_sha256: digest of the program, as in its .hmdf file.
        testbench: the population that testbench.sv is of; "" where no population suits it.
    """

    format: str
    program_sha256: str
    samples: int
    time_steps: int
    state_bits: int
    accumulator_bits: int
    testbench: str
    arrays: tuple[Vectors, ...]


def export_vectors(program: Program, messages: NDArray[Any], folder: str | os.PathLike[str]) -> Path:
    """Write `folder`: the vectors of all nodes for some samples, manifest.json, and a test bench where one suits.

    The folder appears whole or not at all; one that was written before is replaced.

    Args:
        messages: encoded samples, integers (N, 1 or T, *input shape).

    Returns:
        The folder.

    Raises:
        InputError: the messages do not fit the program.
        ProgramError: `folder` holds something else.
    """
    from .testbench import suits_testbench, write_testbench

    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "manifest.json").is_file()):
        raise ProgramError(f"{folder}: exists and holds no vectors; choose another folder or remove it")
    check_messages(program, messages)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        new = beside / "new"
        new.mkdir()
        arrays = [*_constants(program, new), *_walked(program, messages, new)]
        shown = next((p for p in program.populations if suits_testbench(program, p)), None)
        manifest = Manifest(
            "hmdf-vectors 1",
            program.sha256,
            len(messages),
            program.time_steps,
            program.state_bits,
            program.accumulator_bits,
            "" if shown is None else shown.name,
            tuple(arrays),
        )
        if shown is not None:
            write_testbench(program, shown, manifest, new)
        (new / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        if folder.exists():
            os.replace(folder, beside / "old")
        os.replace(new, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _constants(program: Program, folder: Path) -> Iterator[Vectors]:
    """Weights, parameters and tables."""
    for node in program.nodes:
        if isinstance(node, Synapse):
            if isinstance(node.op, WeightedOp):
                bits = max(node.op.weight_bits, 2)  # -1 and +1 take two bits in two's complement
                yield _write(folder, node.name, "weight", "", node.op.weight, bits, True)
            continue
        for what, array, bits in _parameters(node):
            yield _write(folder, node.name, "parameter", what, array, bits, True)
        for field in fields_of(node.dynamics):
            if isinstance(field.kind, Table):
                low, _ = node.message.range
                yield _write(folder, node.name, "table", field.name, field.value, node.message.bits, low < 0)


def _parameters(node: Population) -> Iterator[tuple[str, NDArray[Any], int]]:
    """Arrays by step and channel: "bias", "multiplier.0" of the first port, "gate.bias", "leak", "initial.v" ..."""
    parts: list[tuple[Any, str]] = [(node, "{}")]
    parts += [(port, f"{{}}.{i}") for i, port in enumerate(node.ports)]
    if node.gate is not None:
        parts.append((node.gate, "gate.{}"))
    for part, name in [*parts, (node.dynamics, "{}")]:
        for field in fields_of(part):
            bits = getattr(field.kind, "bits", 0)
            if bits:
                yield name.format(field.name), field.value, bits
    for state, value in node.initial().items():
        yield f"initial.{state}", value, 32


def _walked(program: Program, messages: NDArray[Any], folder: Path) -> Iterator[Vectors]:
    """Messages, accumulators and states of every step, and the logits, by the reference's own steps."""
    steps, samples = program.time_steps, len(messages)
    neurons = {p.name: reference.neurons_of(p, program.state_bits, samples) for p in program.populations}
    found: dict[tuple[str, Kind, str], list[Integers]] = {}
    logits = np.zeros((samples, program.classes), np.int64)
    before = reference.silence(program, samples)
    for t in range(steps):
        values: dict[str, Integers] = {INPUT: messages[:, t % program.input_steps].astype(np.int64)}
        found.setdefault((INPUT, "message", ""), []).append(values[INPUT])
        for node in program.nodes:
            if isinstance(node, Synapse):
                values[node.name] = node.op.accumulate((before if node.delay else values)[node.source])
                found.setdefault((node.name, "accumulator", ""), []).append(values[node.name])
            else:
                values[node.name] = reference.step(node, t, values, neurons[node.name])
                found.setdefault((node.name, "message", ""), []).append(values[node.name])
                for what, state in neurons[node.name].state.items():
                    found.setdefault((node.name, "state", what), []).append(state.copy())
        logits += values[program.readout.source] + program.readout.bias
        before = values
    for (node_name, kind, what), arrays in found.items():
        bits, signed = _width(program, node_name, kind)
        yield _write(folder, node_name, kind, what, np.stack(arrays, axis=1), bits, signed)
    yield _write(folder, "readout", "logits", "", logits, 64, True)


def _width(program: Program, node: str, kind: Kind) -> tuple[int, bool]:
    if kind == "message":
        message: Message = program.message_of(node)
        return message.bits, message.signed
    return (program.accumulator_bits if kind == "accumulator" else program.state_bits), True


def _write(folder: Path, node: str, kind: Kind, what: str, array: NDArray[Any], bits: int, signed: bool) -> Vectors:
    name = ".".join(part for part in (node, kind, what) if part)
    size = next(size for size in (1, 2, 4, 8) if 8 * size >= bits)
    dtype = f"<{'i' if signed else 'u'}{size}" if size > 1 else f"|{'i' if signed else 'u'}1"
    content = np.ascontiguousarray(array.astype(dtype)).tobytes()
    (folder / f"{name}.bin").write_bytes(content)
    digits, mask = -(-bits // 4), (1 << bits) - 1
    sign = ", two's complement" if signed else ""
    head = f"// {name} [{']['.join(map(str, array.shape))}], {bits} bits{sign}\n"
    lines = "\n".join(f"{value & mask:0{digits}x}" for value in array.reshape(-1).tolist())
    (folder / f"{name}.hex").write_text(f"{head}{lines}\n")
    return Vectors(name, node, kind, what, array.shape, bits, signed, dtype, hashlib.sha256(content).hexdigest())
