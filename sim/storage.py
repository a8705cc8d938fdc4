"""A Program is one file, NAME.hmdf: safetensors with the structure as JSON in its header (docs/program-format.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import safetensors
import safetensors.numpy

from .errors import ProgramError
from .files import write_whole
from .program import Program
from .stored import decode, digest_of, encode

FORMAT = "hmdf-program"
VERSION = "1"


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a Program; the file appears whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    document, tensors = encode(program)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
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
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_header(metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        document = metadata["program"].encode()
        if metadata.get("sha256") != digest_of(document, tensors):
            raise ProgramError("its content does not match its checksum; the file was altered or damaged")
        return decode(document, tensors, Program)
    except FileNotFoundError as error:
        raise ProgramError(f"{path}: no such file") from error
    except safetensors.SafetensorError as error:
        raise ProgramError(f"{path}: not a readable program: no .hmdf file, or damaged ({error})") from error
    except (ProgramError, msgspec.MsgspecError, RecursionError, TypeError, ValueError) as error:
        raise ProgramError(f"{path}: not a readable program: {error}") from error
    except OSError as error:
        raise ProgramError(f"{path}: cannot be read: {error.strerror or error}") from error


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


def _with_sorted_header(content: bytes) -> bytes:
    """The same safetensors file with the keys of its header in order: safetensors writes them in any order, and equal
    programs shall be equal files."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]
