"""What reads files, as functions that a fuzzer can call, and mutations that keep what only guards against damage.

A reader takes a file and either does its work or raises one of the errors that a command shows as one message naming
the file; whatever else it raises is a finding. `make fuzz` drives them, tests/test_fuzz.py replays the corpus.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hmdf.hw_targets.target import load_target
from hmdf.sim import reference, storage
from hmdf.sim.errors import HmdfError, InputError
from hmdf.sim.executor import Taps
from hmdf.sim.program import Program
from hmdf.sim.ranges import prove, unproven
from hmdf.train.data.event_frames import Framing, to_frames
from hmdf.train.data.event_readers import read_events
from hmdf.train.data.mnist import read_idx
from hmdf.train.data.npz_sets import load_npz
from hmdf.train.errors import DataError, ModelError
from programs import random_messages

CORPUS = Path(__file__).parent / "fuzz_corpus"
CLEAR = (HmdfError, DataError, ModelError)
"""Errors that a command shows as one message."""
Raw = Callable[[bytes], bytes]
"""Changes some bytes of its own choice."""


class Finding(AssertionError):  # noqa: N818 - the name says what happened
    """A reader did what it must not do."""


class Reader(NamedTuple):
    """Reads a file with that suffix; `mutate` (content, random numbers, raw) knows its format."""

    suffix: str
    read: Callable[[Path], None]
    mutate: Callable[[bytes, random.Random, Raw], bytes]


def check(name: str, content: bytes, folder: Path) -> str:
    """Let a reader read `content`; the message that it refused it with, or "".

    Raises:
        Finding: it raised what is no clear error, or one that does not name the file.
    """
    reader = READERS[name]
    path = folder / f"file{reader.suffix}"
    path.write_bytes(content)
    try:
        reader.read(path)
    except CLEAR as error:
        message = str(error)
        if path.name not in message or len(message) > 10_000:
            raise Finding(f"{name}: a message that does not name the file: {message[:500]!r}") from error
        return message
    except Finding:
        raise
    except (Exception, SystemExit) as error:
        raise Finding(f"{name}: {type(error).__name__}: {error}") from error
    except BaseException as error:  # such as the panics of a library in Rust
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Finding(f"{name}: {type(error).__name__}: {error}") from error
    return ""


# -------------------------------------------------------------------------------- readers

MOST_WORK = 200_000
"""Synaptic operations for which a program that loads is also run."""
MOST_VALUES = 100_000
"""Of an input for which the layers of a NIR graph are made."""


def _program(path: Path) -> None:
    """What loads is written and read again, proven, and gives the reference's integers."""
    program = storage.load(path)
    str(program)
    again = path.with_name("again.hmdf")
    storage.save(program, again)
    if storage.load(again).sha256 != program.sha256:
        raise Finding("a program changes when it is written and read again")
    if _work(program) <= MOST_WORK and not unproven(program, prove(program)):
        messages = random_messages(program, 2, 0)
        _require_equal(reference.run(program, messages), _simulator().run(program, messages))


def _work(program: Program) -> int:
    shapes = program.shapes
    total = sum(_work_of(synapse.op, shapes[synapse.source], shapes[synapse.name]) for synapse in program.synapses)
    return (total + sum(prod(p.shape) for p in program.populations)) * program.time_steps


def _work_of(op: Any, source: tuple[int, ...], shape: tuple[int, ...]) -> int:
    weight = getattr(op, "weight", None)
    taps = prod(op.kernel) if weight is None and hasattr(op, "kernel") else 1
    total = prod(shape) * (taps if weight is None else weight[0].size + 1) + prod(source)
    padding = getattr(op, "padding", 0)
    if isinstance(padding, tuple) and len(source) == 3:
        channels, height, width = source
        total += channels * (height + 2 * padding[0]) * (width + 2 * padding[1])
    return total


@cache
def _simulator() -> Any:
    if os.environ.get("HMDF_FUZZ_CHECKED"):
        from checked_kernels import CheckedSimulator

        return CheckedSimulator()
    from hmdf.sim.simulator import Simulator

    return Simulator(threads=1)


def _require_equal(expected: Taps, got: Taps) -> None:
    same = np.array_equal(expected.logits, got.logits)
    for name, messages in expected.messages.items():
        same &= np.array_equal(messages, got.messages[name])
        same &= np.array_equal(expected.saturations[name], got.saturations[name])
    if not same:
        raise Finding("the simulator gives other integers than the reference")


def _checkpoint(path: Path) -> None:
    from hmdf.train import checkpoint

    checkpoint.load(path).build()


def _nir(path: Path) -> None:
    """A graph is compiled where that is little work, and its program read like any other."""
    import hmdf
    from hmdf.export.nir import Dialect
    from hmdf.export.nir.layers import input_extents
    from hmdf.export.nir.read import read_file, read_graph

    graph, dialect = read_file(path), Dialect(1.0)
    compiled = path.with_name("compiled.hmdf")
    try:
        shape = input_extents(graph)[-3:]
        if prod(shape) > MOST_VALUES:
            return
        x = np.random.default_rng(0).normal(size=(2, *shape))
        layers = read_graph(graph, x, dialect, 3).layers.layers
        shapes = {layer.name: layer.shape for layer in layers}
        work = sum(_work_of(getattr(i, "op", None), shapes[i.sources[0]], i.shape) for i in layers if i.sources)
        if len(layers) > 50 or work > MOST_WORK:
            return
        storage.save(hmdf.compile(graph, x, dialect=dialect, time_steps=3).program, compiled)
    except HmdfError as error:  # names the node; the command has the file
        raise InputError(f"{path}: {error}") from error
    _program(compiled)


def _npz(path: Path) -> None:
    for split in ("train", "test", "all"):
        load_npz(path, split)


def _target(path: Path) -> None:
    load_target(path)


def _config(path: Path) -> None:
    from hmdf.train.config import read_config

    read_config(path)


def _document(path: Path) -> None:
    """A document that fits its program is drawn, in all forms."""
    from hmdf.tools.documents.files import read_of
    from hmdf.tools.documents.run import Compiled, Simulated
    from hmdf.tools.report import FORMS
    from hmdf.tools.reporting.assemble import assemble

    program = _small_program()
    compiled = b'"verify"' not in path.read_bytes()
    document: Any = read_of(path, Compiled if compiled else Simulated, program)
    if not compiled:
        report = assemble(program, document, [load_target("generic")], 1, [path], None, lambda *_: None)
        for form in FORMS.values():
            form(report)


@cache
def _small_program() -> Program:
    return storage.load(CORPUS / "hmdf" / "small.hmdf")


def _events(path: Path) -> None:
    events = read_events(path)
    if events.width * events.height <= 1 << 20:
        for text in ("3:time", "3:count"):
            to_frames(events, Framing(3).with_text(text))


def _idx(path: Path) -> None:
    read_idx(path, 3)


def _picture(path: Path) -> None:
    from hmdf.train.data.picture_files import load_pictures

    for shape in ((3, 8, 8), (1, 8, 8)):
        load_pictures(path, shape, ()).inputs[:]


# ------------------------------------------------------------------------------- commands

COMMANDS = ("train", "compile", "sim", "report", "explore", "inspect", "slim")
CODES = (0, 2, 3, 4, 5)
VALUES = (
    "digits.npz", "model.pt", "model.hmdf", "out.json", "chip.toml", "run.toml", "absent", "absent.npz", "images", ".",
    "0", "1", "2", "-1", "1e9", "0.5", "nan", "inf", "18446744073709551616", "", "-", "--", "é\udcff", "1..3", "1,2",
    "3..1", "all", "loihi2", "generic", "loihi2,loihi2", "reference", "onnx", "html", "json", "none", "digits",
    "digits.npz@1/2", "digits.npz@0/0", "torch.nn:Identity", "nothing:there", "x", "nmnist:0:count", "ternary", "I",
)  # fmt: skip
"""Arguments that are tried; files of the folder that the commands run in among them."""
FILES = {
    "model.pt": "checkpoint/small.pt",
    "model.hmdf": "hmdf/small.hmdf",
    "out.json": "document/out.json",
    "report.json": "document/report.json",
    "digits.npz": "npz/splits.npz",
    "chip.toml": "target/chip.toml",
    "run.toml": "config/run.toml",
    "images/a.png": "picture/rgb.png",
}
FORBIDDEN = re.compile(r"lava|/|\.\.$|\.\.[^0-9]|--cluster|--scheduler|tensorboard")
"""Arguments that would start other programs, or reach out of the folder."""


def _command(path: Path) -> None:
    """A command line, an argument a line, ends with one message and one of the documented codes."""
    lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    command, arguments = lines[0], [line.replace("\0", "") for line in lines[1:40]]
    if command not in COMMANDS or any(FORBIDDEN.search(a) or (":" in a and a not in VALUES) for a in arguments):
        return
    code, errors = _run(command, arguments, path.parent)
    if code not in CODES or "Traceback" in errors or "a fault in hmdf" in errors:
        raise Finding(f"hmdf-{command} {arguments}: exit {code}: {errors[-1000:]}")
    if code and not errors.strip():
        raise Finding(f"hmdf-{command} {arguments}: exit {code} without a message")


def _run(command: str, arguments: list[str], folder: Path) -> tuple[Any, str]:
    """Exit code and what it says on standard error, in a folder with a few small files, without real work."""
    place = folder / "here"
    shutil.rmtree(place, ignore_errors=True)
    (place / "images").mkdir(parents=True)
    for name, seed in FILES.items():
        shutil.copy(CORPUS / seed, place / name)
    module = import_module(f"hmdf.tools.{command}")
    before, argv, errors = os.getcwd(), sys.argv, io.StringIO()
    os.chdir(place)
    sys.argv = [f"hmdf-{command}", *arguments]
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(errors), _no_work():
            module.main()
    except SystemExit as stop:
        return stop.code, errors.getvalue()
    finally:
        os.chdir(before)
        sys.argv = argv
    return "none", errors.getvalue()


@contextmanager
def _no_work() -> Iterator[None]:
    """Where a command would begin to train, measure or draw, it is done."""
    from unittest.mock import patch

    import click

    from hmdf.tools import inspect
    from hmdf.tools.exploration import workload
    from hmdf.train import trainer

    done = click.exceptions.Exit(0)
    places = ((trainer, "train"), (workload, "prepare"), (inspect, "inspect_model"))
    with ExitStack() as stack:
        for module, name in places:
            stack.enter_context(patch.object(module, name, side_effect=done))
        yield


# ------------------------------------------------------------------------------ mutations

CONSTANTS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 255, 256, 4096, 4097, 65535, 65536, 1 << 31, (1 << 31) - 1,
    -(1 << 31), 1 << 53, 1 << 63, 1 << 64, 10**30, 0.5, -0.0, 1e308, 1e-320, True, False, None, "", "input", "x" * 300,
    "a.b", "é", "\ud800", [], {}, [1], [1, 1], [[]], {"type": "relay"}, {"tensor": "x", "shape": [1]},
)  # fmt: skip


def scrambled(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, set, inserted, repeated, cut out or cut off."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 64))
        match rng.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + length] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"\n")) * length
            case 2:
                data[at:at] = rng.randbytes(length)
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                del data[at : at + length]
            case 5 if rng.random() < 0.2:
                del data[at:]
    return bytes(data)


def changed(value: Any, rng: random.Random) -> Any:
    """Something of JSON with one part of it changed, removed, repeated or put elsewhere."""
    value = json.loads(json.dumps(value))
    places = list(_places(value))
    if not places:
        return rng.choice(CONSTANTS)
    holder, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1:
            other, name = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        case 2 if isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), holder[key])
        case 3 if isinstance(holder, dict):
            holder[f"{key}_" if rng.random() < 0.5 else rng.choice(("type", "tensor", "shape", "x"))] = holder[key]
        case 4 | 5 if isinstance(holder[key], int | float):
            holder[key] = rng.choice(
                (holder[key] + 1, holder[key] - 1, holder[key] * 2, -holder[key], float(holder[key]))
            )
        case _:
            holder[key] = rng.choice(CONSTANTS)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def _any_bytes(content: bytes, rng: random.Random, raw: Raw) -> bytes:
    return raw(content)


def _of_json(content: bytes, rng: random.Random, raw: Raw) -> bytes:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return raw(content)
    return raw(content) if rng.random() < 0.2 else json.dumps(changed(value, rng)).encode()


def _of_hmdf(content: bytes, rng: random.Random, raw: Raw) -> bytes:
    """The structure, a tensor or the header, with the checksum made anew."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        metadata = header.pop("__metadata__")
        data = {name: content[8 + length :][slice(*entry["data_offsets"])] for name, entry in header.items()}
        program = json.loads(metadata["program"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return raw(content)
    match rng.randrange(10):
        case 0:
            return raw(content)
        case 1:
            header = changed(header, rng)
        case 2:
            metadata = changed(metadata, rng)
        case 3 | 4 if data:
            name = rng.choice(sorted(data))
            data[name] = (raw(data[name]) + data[name])[: len(data[name])]
        case 5:
            text = raw(metadata["program"].encode()).decode(errors="replace")
            return _hmdf(header, metadata | {"program": text}, data)
        case _:
            program = changed(program, rng)
    if isinstance(metadata, dict) and isinstance(metadata.get("program"), str):
        metadata["program"] = json.dumps(program, separators=(",", ":"))
    return _hmdf(header, metadata, data)


def _hmdf(header: Any, metadata: Any, data: dict[str, bytes]) -> bytes:
    """A container with a valid checksum, as far as there can be one."""
    names = {"U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64"}
    try:
        state = hashlib.sha256(metadata["program"].encode())
        for name in sorted(header, key=str.encode):
            shape = "x".join(map(str, header[name]["shape"]))
            state.update(f"\n{name} {names[header[name]['dtype']]} {shape}\n".encode() + data.get(name, b""))
        metadata = metadata | {"sha256": state.hexdigest()}
    except (TypeError, KeyError, AttributeError, UnicodeEncodeError):
        pass
    whole = json.dumps({**header, "__metadata__": metadata} if isinstance(header, dict) else header).encode()
    whole += b" " * (-len(whole) % 8)
    return len(whole).to_bytes(8, "little") + whole + b"".join(data.values())


def _of_zip(content: bytes, rng: random.Random, raw: Raw) -> bytes:
    """One part of an archive, its checksums made anew."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, zlib.error, EOFError, RuntimeError):
        return raw(content)
    if not parts or rng.random() < 0.1:
        return raw(content)
    name = rng.choice(sorted(parts))
    match rng.randrange(10):
        case 0:
            del parts[name]
        case 1:
            parts[name] = parts[rng.choice(sorted(parts))]
        case _:
            parts[name] = raw(parts[name])
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as archive:
        for part, text in parts.items():
            archive.writestr(zipfile.ZipInfo(part), text)
    return result.getvalue()


def _of_checkpoint(content: bytes, rng: random.Random, raw: Raw) -> bytes:
    """A value of its dictionaries, or a part of the archive."""
    if rng.random() < 0.5:
        return _of_zip(content, rng, raw)
    import torch

    try:
        whole = torch.load(io.BytesIO(content), weights_only=True)
        part = rng.choice(("network", "network", "preprocessing", "class_names", "dataset", "version"))
        whole[part] = changed({"": whole[part]}, rng).get("")
        if rng.random() < 0.3:
            name = rng.choice(sorted(whole["state"]))
            tensor = whole["state"].pop(name)
            others = (tensor[..., :0], tensor.double(), tensor.expand(1000, *tensor.shape), tensor * float("nan"))
            whole["state"][name] = rng.choice(others)
    except Exception:
        return _of_zip(content, rng, raw)
    result = io.BytesIO()
    torch.save(whole, result)
    return result.getvalue()


def _of_nir(content: bytes, rng: random.Random, raw: Raw) -> bytes:
    """A group or an array of the file changed, removed, or put elsewhere; an edge changed."""
    import h5py

    file = io.BytesIO(content)
    if rng.random() < 0.1:
        return raw(content)
    try:
        with h5py.File(file, "r+") as graph:
            names: list[str] = []
            graph.visit(names.append)
            for _ in range(rng.choice((1, 1, 2, 4))):
                name, other = rng.choice(names), rng.choice(names)
                if name not in graph:
                    continue
                entry = graph[name]
                value = entry[()] if isinstance(entry, h5py.Dataset) else None
                if rng.random() < 0.2:
                    value = graph[other]
                elif isinstance(value, bytes):
                    kind = rng.choice((*NIR_KINDS, value.decode(errors="replace"), ""))
                    value = rng.choice((kind, kind.encode(), rng.choice(CONSTANTS[:30])))
                elif value is not None:
                    value = _array_changed(np.asarray(value), rng)
                del graph[name]
                if value is not None and rng.random() < 0.95:
                    graph[name] = value
    except Exception:
        return raw(content)
    return file.getvalue()


NIR_KINDS = (
    "Affine", "AvgPool2d", "Conv1d", "Conv2d", "CubaLI", "CubaLIF", "Delay", "Flatten", "I", "IF", "Input", "LI", "LIF",
    "Linear", "NIRGraph", "Output", "Scale", "SumPool2d", "Threshold", "same", "valid",
)  # fmt: skip


def _array_changed(value: Any, rng: random.Random) -> Any:
    """An array with one of its values, its shape or its type changed."""
    match rng.randrange(6):
        case 0 if value.dtype.kind in "if" and value.size:
            value = value.astype(np.float64)
            value.flat[rng.randrange(value.size)] = rng.choice(
                (0, -1, 0.5, 1e-300, 1e9, 1e300, np.nan, np.inf, -np.inf)
            )
            return value
        case 1:
            return value.reshape(-1)[rng.randrange(value.size + 1) :]
        case 2:
            return np.stack([value] * rng.choice((1, 2, 3)))
        case 3:
            return value.astype(rng.choice(("f2", "i1", "u8", "S3", "c8", "?")))
        case 4 if value.size > 1:
            return np.roll(value.reshape(-1), 1).reshape(value.shape)
    return rng.choice(tuple(c for c in CONSTANTS if isinstance(c, int | float) and abs(c) < 1 << 63))


def _of_toml(content: bytes, rng: random.Random, raw: Raw) -> bytes:
    """A value, or a line, of the text."""
    lines = content.decode(errors="replace").split("\n")
    at = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            return raw(content)
        case 1:
            del lines[at]
        case 2:
            lines.insert(at, rng.choice(lines))
        case _:
            key, mark, _ = lines[at].partition("=")
            values = (
                "0",
                "-1",
                "1e400",
                "nan",
                "true",
                '""',
                "[]",
                "{}",
                "[1, 2]",
                '"x"',
                "9" * 30,
                "1979-05-27",
                "{x=1}",
            )
            value = rng.choice(values)
            lines[at] = (
                f"{key}{mark}{value}" if mark else re.sub(r"\d+", rng.choice(("0", "-1", "99999999999")), lines[at])
            )
    return "\n".join(lines).encode()


def _of_png(content: bytes, rng: random.Random, raw: Raw) -> bytes:
    """One chunk of a PNG, its checksum made anew; any bytes of other images."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or rng.random() < 0.2:
        return raw(content)
    chunks, at = [], 8
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    index = rng.randrange(len(chunks)) if chunks else 0
    if not chunks:
        return raw(content)
    kind, body = chunks[index]
    if kind == b"IDAT" and rng.random() < 0.5:
        with suppress(zlib.error):
            body = zlib.compress(raw(zlib.decompress(body)))
    else:
        body = raw(body)
    chunks[index] = kind, body
    parts = (len(b).to_bytes(4, "big") + k + b + zlib.crc32(k + b).to_bytes(4, "big") for k, b in chunks)
    return content[:8] + b"".join(parts)


def _of_command(content: bytes, rng: random.Random, raw: Raw) -> bytes:
    """An argument changed, put in, or taken out."""
    command, *lines = content.decode("utf-8", "surrogateescape").split("\n")
    if command not in COMMANDS or rng.random() < 0.1:
        command = rng.choice(COMMANDS)
    at = rng.randrange(len(lines) + 1)
    match rng.randrange(6):
        case 0 if lines:
            del lines[at - 1]
        case 1 if lines:
            lines[at - 1] = raw(lines[at - 1].encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
        case 2:
            lines.insert(at, rng.choice(VALUES))
        case 3 if lines:
            lines[at - 1] = rng.choice(VALUES)
        case _:
            lines[at:at] = [rng.choice(_options(command)), rng.choice(VALUES)]
    return "\n".join([command, *lines]).encode("utf-8", "surrogateescape")


@cache
def _options(command: str) -> list[str]:
    parameters = getattr(import_module(f"hmdf.tools.{command}"), f"{command}_command").params
    return sorted(option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts))


READERS = {
    "hmdf": Reader(".hmdf", _program, _of_hmdf),
    "checkpoint": Reader(".pt", _checkpoint, _of_checkpoint),
    "nir": Reader(".nir", _nir, _of_nir),
    "npz": Reader(".npz", _npz, _of_zip),
    "target": Reader(".toml", _target, _of_toml),
    "config": Reader(".toml", _config, _of_toml),
    "document": Reader(".json", _document, _of_json),
    **{kind: Reader(f".{kind}", _events, _any_bytes) for kind in ("bin", "aedat", "aedat4", "dat")},
    "idx": Reader(".idx", _idx, _any_bytes),
    "picture": Reader(".png", _picture, _of_png),
    "commands": Reader(".txt", _command, _of_command),
}
"""By the folder of their corpus."""
