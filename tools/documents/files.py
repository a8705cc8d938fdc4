"""Documents as JSON files: written whole or not at all, and read back with their types checked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TypeVar

import msgspec

from hmdf.sim.contract import Population
from hmdf.sim.errors import InputError
from hmdf.sim.files import write_whole
from hmdf.sim.program import Program

from .run import Counted, OneSample, Picture, Simulated, SpikeMaps

LARGEST = 256 << 20
"""Bytes of the largest file that is read."""
_NUMBERS = re.compile(r"\[\n\s*(-?[\d.][^\[\]{}\"]*?)\s*\]")

Document = TypeVar("Document", bound=Counted)


def write(path: Path, document: msgspec.Struct) -> None:
    """Write a document, lists of numbers on one line each; the file appears whole or not at all."""
    text = json.dumps(msgspec.to_builtins(document), indent=2)
    write_whole(path, _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text).encode() + b"\n")


def read(path: Path, kind: type[Document], option: str = "") -> Document:
    """A document; keys that this version does not know are passed over.

    Args:
        option: the command's option that named the file, for messages.

    Raises:
        InputError: no such file, or not such a document.
    """
    name = f"{option} {path}".lstrip()
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{name}: larger than {LARGEST >> 20} MiB, so not written by hmdf-sim --json")
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}; hmdf-sim --json writes such a file") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not written by this version of hmdf-sim --json: {error}") from None


def read_of(path: Path, kind: type[Document], program: Program) -> Document:
    """A document about a program, so that what is drawn from it needs no further look.

    Raises:
        InputError: as `read`, or it is of another program.
    """
    document = read(path, kind)
    complaint = _complaint(document, program)
    if complaint:
        raise InputError(f"{path}: {complaint}; run hmdf-sim --json again")
    return document


def _complaint(document: Counted, program: Program) -> str:
    """What keeps a document from being about a program; "" for nothing."""
    found, own = document.program.sha256, program.sha256
    if found != own:
        return f"it is of another program ({found[:12]}..., the model is {own[:12]}...)"
    if [layer.name for layer in document.layers] != [node.name for node in program.nodes]:
        return "its layers are not those of the program"
    for layer in document.layers:
        if isinstance(program.by_name[layer.name], Population) == (layer.spikes_per_sample is None):
            return f"layer '{layer.name}' is of another kind"
    sample = document.sample if isinstance(document, Simulated) else None
    return "" if sample is None or _sound(sample, program) else "key 'sample' does not fit the program"


def _sound(sample: OneSample, program: Program) -> bool:
    return (
        all(name < program.classes for name in (sample.label or 0, sample.predicted))
        and [len(row) for row in sample.logits_by_step] == [program.classes] * program.time_steps
        and len(sample.layers) > 0
        and all(_sound_maps(maps, program.time_steps) for maps in sample.layers)
        and (sample.picture is None or _sound_picture(sample.picture))
    )


def _sound_maps(maps: SpikeMaps, steps: int) -> bool:
    shown, height, width = maps.map_shape
    return len(maps.spikes_by_step) == steps and shown <= steps and len(maps.map) == shown * height * width


def _sound_picture(picture: Picture) -> bool:
    height, width, channels = picture.shape
    return (
        channels == {"grey": 1, "events": 2, "rgb": 3}[picture.kind]
        and len(picture.values) == height * width * channels
        and max(picture.values) <= 255
    )
