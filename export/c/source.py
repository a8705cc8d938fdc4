"""Writes a Program as a folder of C99: the network, its weights, and a command that runs it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.errors import ProgramError
from hmdf.sim.program import Program
from hmdf.sim.ranges import prove, unproven
from hmdf.sim.simulator import simulate

from .accumulate import DENSE_ROWS, DENSE_TILE, LIST_ROOM
from .arena import ArenaPlan, Buffer, plan
from .layers import LayerCode, Layers, State
from .layout import SIZES, TYPES, channels_last, message_code, number_lines
from .values import literal

TEMPLATE = Path(__file__).parent / "template"
_MESSAGE_CODES = "u8|i8|u16|i16"


class Sources(msgspec.Struct, frozen=True):
    """The C of a program.

    Fields:
        files: text by name.
        arena: where messages and scratch lie.
        states: membranes.
        neuron_bytes: of the membranes; weight_bytes: of the constants.
        helium_bytes: of the constants that only a Cortex-M55 has, in addition.
    """

    files: dict[str, str]
    arena: ArenaPlan
    states: list[State]
    neuron_bytes: int
    weight_bytes: int
    helium_bytes: int


def export_c(program: Program, folder: str | os.PathLike[str], sample: NDArray[Any] | None = None) -> Path:
    """Write `folder`: model.h, model.c, weights.h, weights.c, main.c, test_vector.h, Makefile, CMakeLists.txt.

    The folder appears whole or not at all; one that was written before is replaced.

    Args:
        sample: encoded input of the test vector, (1 or T, *input shape); random messages unless given.

    Returns:
        The folder.

    Raises:
        ProgramError: an integer of the program is not proven to fit, or `folder` holds something else.
    """
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "model.c").is_file()):
        raise ProgramError(f"{folder}: exists and holds no model.c; choose another folder or remove it")
    source = write_source(program, sample)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        (beside / "new").mkdir()
        for name, text in source.files.items():
            (beside / "new" / name).write_text(text)
        if folder.exists():
            os.replace(folder, beside / "old")
        os.replace(beside / "new", folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def write_source(program: Program, sample: NDArray[Any] | None = None) -> Sources:
    """The text of all files; see `export_c`."""
    from hmdf import __version__

    proof = prove(program)
    if findings := unproven(program, proof):
        raise ProgramError("; ".join(map(str, findings)))
    layers = Layers(program, proof)
    written = [*map(layers.population, program.populations), layers.readout()]
    arena = plan(_merged(b for layer in written for b in layer.buffers))
    states = [state for layer in written for state in layer.states]
    tables = [table for layer in written for table in layer.tables]
    neuron_bytes = sum(s.count * SIZES[s.code] for s in states)
    weight_bytes, helium_bytes = (sum(t.size for t in tables if bool(t.only) == more) for more in (False, True))
    functions = "\n".join(_layer_text(layer) for layer in written)
    shape, code = program.input.shape, message_code(program.input.message)
    low, high = program.input.message.range
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    sample = _test_sample(program) if sample is None else np.asarray(sample)
    logits = simulate(program, sample[None], threads=1).logits[0]
    calls = [f"    {layer.call}\n    TAP({i}, {_tapped(layer)});" for i, layer in enumerate(written[:-1])]
    if not any("input" in call for call in (*calls, written[-1].call)):
        calls.insert(0, "    (void)input;")
    fields: dict[str, object] = {
        "NETWORK": program.metadata.network or "A network",
        "VERSION": program.metadata.tool_version or __version__,
        "SHA256": program.sha256,
        "INPUT_NOTE": "one array, the same at every time-step"
        if program.input.timing == "constant"
        else "an array for each time-step",
        "INPUT_LOW": low,
        "INPUT_HIGH": high,
        "INPUT_SCALE": f"{program.input.message.scale:.9g}",
        "STEPS": program.time_steps,
        "INPUT_STEPS": program.input_steps,
        "HEIGHT": height,
        "WIDTH": width,
        "CHANNELS": channels,
        "CLASSES": program.classes,
        "POPULATIONS": len(program.populations),
        "ARENA": arena.size,
        "NEURONS": neuron_bytes,
        "WEIGHTS": weight_bytes,
        "INPUT_TYPE": TYPES[code],
        "ARENA_MEMBERS": "\n".join(_member(arena, buffer) for buffer in arena.buffers),
        "STATES": "\n".join(f"    {TYPES[s.code]} {s.name}[{s.count}];  /* {s.note} */" for s in states),
        "WIDEST_ROW": max((int(n) for n in re.findall(r"_events_(?:\w+_)?\d\(&?\w+, (\d+),", functions)), default=4),
        "LIST_ROOM": LIST_ROOM,
        "DENSE_TILE": DENSE_TILE,
        "DENSE_ROWS": DENSE_ROWS,
        "KERNELS": _kernels(functions),
        "LAYERS": functions,
        "RESETS": "".join(state.reset for state in states),
        "CALLS": "\n".join(
            [*calls, f"    {written[-1].call}", *(f"    {layer.kept}" for layer in written if layer.kept)]
        ),
        "DECLARATIONS": "\n".join(table.where_it_exists(f"extern {table.declaration};\n").rstrip() for table in tables),
        "DEFINITIONS": "\n".join(table.definition for table in tables),
        "TEST_INPUT": number_lines(map(str, channels_last(sample, shape).reshape(-1).tolist())),
        "TEST_LOGITS": number_lines(literal(int(n)) for n in logits),
    }
    names = ["model.h", "model.c", "weights.h", "weights.c", "main.c", "test_vector.h", "Makefile", "CMakeLists.txt"]
    files = {name: _filled((TEMPLATE / name).read_text(), fields) for name in names}
    return Sources(files, arena, states, neuron_bytes, weight_bytes, helium_bytes)


def _merged(buffers: Iterable[Buffer]) -> list[Buffer]:
    """One buffer for each name, needed from the first stage to the last at which any of them is."""
    found: dict[str, Buffer] = {}
    for buffer in buffers:
        other = found.get(buffer.name, buffer)
        first, last = min(buffer.first, other.first), max(buffer.last, other.last)
        found[buffer.name] = msgspec.structs.replace(buffer, first=first, last=last)
    return list(found.values())


def _layer_text(layer: LayerCode) -> str:
    definitions = "\n".join(layer.definitions)
    return f"{definitions}\n\n{layer.functions}" if definitions else layer.functions


def _tapped(layer: LayerCode) -> str:
    return f"state->arena.{layer.buffers[-1].name}.data"


def _member(arena: ArenaPlan, buffer: Buffer) -> str:
    offset = arena.offsets[buffer.name]
    before = f"unsigned char before[{offset}]; " if offset else ""
    return f"    struct {{ {before}{buffer.type} data[{buffer.count}]; }} {buffer.name};  /* {buffer.note} */"


def _filled(text: str, fields: dict[str, object]) -> str:
    return re.sub(r"@([A-Z_0-9]+)@", lambda match: str(fields[match[1]]), text)


def _test_sample(program: Program) -> NDArray[Any]:
    """Random messages, half of them 0, the same for each shape."""
    low, high = program.input.message.range
    rng = np.random.default_rng(0)
    shape = (program.input_steps, *program.input.shape)
    messages = rng.integers(low, high + 1, shape) * (rng.random(shape) < 0.5)
    return np.clip(messages, low, high)


# ------------------------------------------------------------------------------- kernels


def _kernels(functions: str) -> str:
    """The kernels that the layers use, and those that these use, in the order of the template."""
    blocks = _blocks((TEMPLATE / "kernels.c").read_text())
    wanted: dict[int, list[str]] = {}
    todo = [functions]
    while todo:
        text = todo.pop()
        for index, (pattern, block) in enumerate(blocks):
            for match in re.finditer(pattern, text):
                body = _instance(block, match.groupdict())
                if body not in wanted.setdefault(index, []):
                    wanted[index].append(body)
                    todo.append(body)
    return "\n".join(body for index in sorted(wanted) for body in wanted[index])


def _blocks(text: str) -> list[tuple[str, str]]:
    """Pieces of the template, with the pattern of the names that each defines."""
    found = []
    for piece in re.split(r"\n(?=/\*|static|typedef|#if)(?<=\n\n)", text):
        names = re.findall(r"^static .*?(\w+)\(|^} (\w+);", piece, re.MULTILINE)
        name = next(a or b for a, b in names) if names else "EVENTS_AT_ONCE"
        pattern = re.escape(name).replace("SUFFIX", f"(?P<suffix>{_MESSAGE_CODES})").replace("BITS", "(?P<bits>[1248])")
        found.append((rf"\b{pattern}\b", piece.rstrip() + "\n"))
    return found


def _instance(block: str, found: dict[str, str]) -> str:
    """A block for one type of messages and one width of weights."""
    suffix, bits = found.get("suffix"), found.get("bits")
    if suffix:
        block = block.replace("MESSAGE", TYPES[suffix]).replace("SUFFIX", suffix)
    if bits:
        block = block.replace("WEIGHT", "int8_t" if bits == "8" else "uint8_t").replace("BITS", bits)
    return block
