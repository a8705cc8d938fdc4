"""A Program is one file, NAME.hmdf: safetensors with the structure as JSON in its header (docs/program-format.md)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from .errors import ProgramError
from .files import write_whole
from .nodes import MAX_ELEMENTS, Population
from .packing import pack, unpack
from .program import Program

FORMAT = "hmdf-program"
VERSION = "1"
_Packing = Literal["none", "bits", "trits", "nibbles", "bytes"]
_PACKINGS: dict[_Packing, int] = {"bits": 1, "trits": 2, "nibbles": 4, "bytes": 8}
_PACKING_OF: dict[int, _Packing] = {bits: name for name, bits in _PACKINGS.items()} | {0: "none"}


class _ArrayReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stands in the JSON where an array stands in the Program."""

    tensor: str
    shape: tuple[int, ...]
    packing: _Packing = "none"


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a Program; the file appears whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    document, tensors = _encode(program)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "program": document.decode(),
        "sha256": _digest(document, tensors),
    }
    write_whole(path, _with_sorted_header(safetensors.numpy.save(tensors, metadata=metadata)))


def load(path: str | os.PathLike[str]) -> Program:
    """Read and check a Program.

    Raises:
        ProgramError: the file is missing, truncated, altered, of another version, or describes no valid Program;
            the message names the file and the reason.
    """
    path = Path(path)
    if path.is_dir():
        raise ProgramError(f"{path}: is a folder, not a program")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_header(metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        document = metadata["program"].encode()
        if metadata.get("sha256") != _digest(document, tensors):
            raise ProgramError("its content does not match its checksum; the file was altered or damaged")
        program = _decode(document, tensors)
    except FileNotFoundError as error:
        raise ProgramError(f"{path}: no such file") from error
    except safetensors.SafetensorError as error:
        raise ProgramError(f"{path}: not a readable program: no .hmdf file, or damaged ({error})") from error
    except (ProgramError, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise ProgramError(f"{path}: not a readable program: {error}") from error
    except OSError as error:
        raise ProgramError(f"{path}: cannot be read: {error.strerror or error}") from error
    program.__dict__["sha256"] = metadata["sha256"]
    return program


def digest(program: Program) -> str:
    """The sha256 that `save` stores with a Program (hexadecimal)."""
    return _digest(*_encode(program))


def _check_header(metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ProgramError(f"it is a safetensors file, but not an '{FORMAT}' file")
    if metadata.get("version") != VERSION:
        raise ProgramError(
            f"its format version is {metadata.get('version')!r}, this hmdf reads version {VERSION!r}; "
            "compile the network again, or use the hmdf that wrote it"
        )
    if "program" not in metadata:
        raise ProgramError("its header has no 'program'")


def _encode(program: Program) -> tuple[bytes, dict[str, np.ndarray]]:
    references: dict[int, _ArrayReference] = {}
    tensors: dict[str, np.ndarray] = {}
    for name, array, weight_bits in _arrays(program):
        if id(array) in references:
            continue
        tensors[name] = pack(array, weight_bits) if weight_bits else array
        references[id(array)] = _ArrayReference(name, array.shape, _PACKING_OF[weight_bits])

    def plain(value: Any) -> Any:
        return value.item() if isinstance(value, np.generic) else references[id(value)]

    return msgspec.json.encode(program, enc_hook=plain), tensors


def _decode(document: bytes, tensors: dict[str, np.ndarray]) -> Program:
    def array(_kind: type, value: Any) -> np.ndarray:
        reference = msgspec.convert(value, _ArrayReference)
        if reference.tensor not in tensors:
            raise ProgramError(f"tensor '{reference.tensor}' is missing")
        stored, count = tensors[reference.tensor], prod(reference.shape)
        if min(reference.shape, default=1) < 1 or count > MAX_ELEMENTS:
            raise ProgramError(f"tensor '{reference.tensor}': impossible shape {reference.shape}")
        if reference.packing == "none":
            if stored.shape != reference.shape or stored.dtype.kind not in "iu":
                raise ProgramError(
                    f"tensor '{reference.tensor}': {stored.dtype} {stored.shape}, wanted integers {reference.shape}"
                )
            return stored
        if stored.ndim != 1 or stored.dtype != np.uint8:
            raise ProgramError(f"tensor '{reference.tensor}': packed weights are flat uint8, not {stored.dtype}")
        try:
            return unpack(stored, count, _PACKINGS[reference.packing]).reshape(reference.shape)
        except ProgramError as error:
            raise ProgramError(f"tensor '{reference.tensor}': {error}") from None

    return msgspec.json.decode(document, type=Program, dec_hook=array)


def _arrays(program: Program) -> Iterator[tuple[str, np.ndarray, int]]:
    """Every array with its tensor name and, where it is packed, its weight bits (else 0).

    A node's name has no colon, so a node 'a.gate' and the gate of a node 'a' never share a tensor name.
    """
    for node in program.nodes:
        if not isinstance(node, Population):
            if node.weight is not None:
                yield f"{node.name}:weight", node.weight, node.weight_bits
            continue
        for index, port in enumerate(node.ports):
            yield f"{node.name}:ports.{index}.multiplier", port.multiplier, 0
        yield f"{node.name}:bias", node.bias, 0
        if node.gate is not None:
            yield f"{node.name}:gate.bias", node.gate.bias, 0
        for field in node.dynamics.__struct_fields__:
            value = getattr(node.dynamics, field)
            if isinstance(value, np.ndarray):
                yield f"{node.name}:dynamics.{field}", value, 0
    yield "readout:bias", program.readout.bias, 0


def _with_sorted_header(content: bytes) -> bytes:
    """The same safetensors file with the keys of its header in order: safetensors writes them in any order, and equal
    programs shall be equal files."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def _digest(document: bytes, tensors: dict[str, np.ndarray]) -> str:
    """sha256 of the JSON, then of each tensor by name: "name dtype shape" as a line of text, then its bytes."""
    state = hashlib.sha256(document)
    for name in sorted(tensors):
        array = tensors[name]
        shape = "x".join(str(extent) for extent in array.shape)
        state.update(f"\n{name} {array.dtype.name} {shape}\n".encode())
        state.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return state.hexdigest()
