"""A Program is one file, NAME.hmdf: safetensors with the structure as JSON in its header (docs/program-format.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.numpy

from .errors import ProgramError
from .files import write_whole
from .program import Program
from .stored import decode, digest_of, encode, strict_json, version_of

FORMAT = "hmdf-program"
VERSIONS = ("1", "2")
LARGEST_HEADER = 100_000_000
DTYPES = ("U8", "I8", "I16", "I32", "I64")
METADATA = {"format", "version", "program", "sha256"}


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a Program; the file appears whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    document, tensors = encode(program)
    metadata = {
        "format": FORMAT,
        "version": version_of(program),
        "program": document.decode(),
        "sha256": digest_of(document, tensors),
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
        metadata = _checked_metadata(_header(path))
        with safetensors.safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        document = metadata["program"].encode()
        if metadata.get("sha256") != digest_of(document, tensors):
            raise ProgramError("its content does not match its checksum; the file was altered or damaged")
        return decode(document, tensors, Program, metadata["version"])
    except FileNotFoundError as error:
        raise ProgramError(f"{path}: no such file") from error
    except safetensors.SafetensorError as error:
        raise ProgramError(f"{path}: not a readable program: no .hmdf file, or damaged ({error})") from error
    except (ProgramError, msgspec.MsgspecError, RecursionError, TypeError, ValueError) as error:
        raise ProgramError(f"{path}: not a readable program: {error}") from error
    except OSError as error:
        raise ProgramError(f"{path}: cannot be read: {error.strerror or error}") from error


def _header(path: Path) -> dict[str, Any]:
    """The header of the container, checked before a tensor is asked for: safetensors allows more than a Program has.

    What is wrong with lengths and offsets is left to safetensors to say.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length <= LARGEST_HEADER else b""
    if len(text) != length or not text.startswith(b"{"):
        raise ProgramError("no .hmdf file, or damaged: it does not begin with a header")
    header = strict_json(text)
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ProgramError(f"tensor '{name}': its entry has not just dtype, shape and data_offsets")
        if entry["dtype"] not in DTYPES:
            raise ProgramError(f"tensor '{name}': dtype {entry['dtype']!r}; a Program has {', '.join(DTYPES)}")
    return header


def _checked_metadata(header: dict[str, Any]) -> dict[str, str]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict):
        metadata = {}
    if metadata.get("format") != FORMAT:
        raise ProgramError(f"it is a safetensors file, but not an '{FORMAT}' file")
    if metadata.get("version") not in VERSIONS:
        raise ProgramError(
            f"its format version is {metadata.get('version')!r}, this hmdf reads versions {' and '.join(VERSIONS)}; "
            "compile the network again, or use the hmdf that wrote it"
        )
    if set(metadata) != METADATA or not all(isinstance(value, str) for value in metadata.values()):
        raise ProgramError(f"its metadata are {', '.join(sorted(metadata))}; wanted {', '.join(sorted(METADATA))}")
    return metadata


def _with_sorted_header(content: bytes) -> bytes:
    """The same safetensors file with the keys of its header in order: safetensors writes them in any order, and equal
    programs shall be equal files."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]
