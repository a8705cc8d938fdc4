"""Finished blocks in a folder, from which an interrupted run goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from hmdf.sim.errors import InputError
from hmdf.sim.files import write_whole
from hmdf.train.data import Dataset
from hmdf.train.data.lazy_images import LazyImages
from hmdf.train.data.picture_files import Pictures

from .blocks import Block, BlockResult, blocks_of, unpack


class RunFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a block's integers depend on, and by which samples it is of.

    Attributes:
        hmdf: version.
        program: sha256, with the number of time-steps that it is run for.
        content: of the data, see `content_digest`.
        block: samples of a block.
        verify: executors that it is compared with, and on how many samples.
    """

    hmdf: str
    program: str
    data: str
    split: str
    samples: int
    content: str
    block: int
    verify: str

    @property
    def key(self) -> str:
        """Identifies a run."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:32]


def _short(facts: RunFacts, name: str) -> str:
    text = str(getattr(facts, name))
    return text[:12] if name in ("program", "content") else text


class KeptBlocks:
    """FOLDER/run.json, and FOLDER/START-STOP.block for each block; every file is written whole or not at all."""

    def __init__(self, folder: Path, facts: RunFacts) -> None:
        """Raises InputError for a folder that has blocks of another run; OSError when it cannot be written."""
        self.folder, self.facts = folder, facts
        path = folder / "run.json"
        try:
            before = msgspec.json.decode(path.read_bytes(), type=RunFacts)
        except FileNotFoundError:
            write_whole(path, msgspec.json.format(msgspec.json.encode(facts), indent=1))
            return
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"--resume {path}: damaged ({error}); remove the folder, or give another one") from None
        changed = [name for name in facts.__struct_fields__ if getattr(before, name) != getattr(facts, name)]
        if changed:
            reasons = "; ".join(f"{name} was {_short(before, name)}, is {_short(facts, name)}" for name in changed)
            raise InputError(
                f"--resume {folder}: holds blocks of another run ({reasons}); give the same program, data and options, "
                "or another folder"
            )

    def found(self) -> Iterator[tuple[Block, BlockResult]]:
        """The blocks that are there; a damaged one is passed over, and run again."""
        for block in blocks_of(self.facts.samples, self.facts.block):
            try:
                kept = unpack(self._path(block).read_bytes(), self.facts.key)
            except FileNotFoundError:
                continue
            if kept is not None and kept[0] == block:
                yield kept

    def keep(self, block: Block, content: bytes) -> None:
        """Write a packed block; OSError when that fails."""
        write_whole(self._path(block), content)

    def _path(self, block: Block) -> Path:
        return self.folder / f"{block.start:08d}-{block.stop:08d}.block"


def content_digest(data: Dataset | Pictures) -> str:
    """Of labels and inputs; of image files, of their paths, sizes and times: none is read."""
    digest = hashlib.sha256(b"" if data.labels is None else np.ascontiguousarray(data.labels, "<i8").tobytes())
    if isinstance(data.inputs, LazyImages):
        for path in data.inputs.paths:
            about = path.stat()
            digest.update(f"{path.absolute()}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    else:
        digest.update(f"{data.inputs.dtype.name} {data.inputs.shape}".encode())
        digest.update(np.ascontiguousarray(data.inputs).data)
    return digest.hexdigest()
