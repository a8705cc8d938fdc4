"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 32 x 32 colour images, 50,000 / 10,000.

Read from the binary version, as the published archive or extracted; from class folders; from an npz of mosaics. The
python version is made of pickles, which can execute code when they are read: it is refused.
"""

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from . import constants
from .class_folders import load_class_folders
from .dataset import Dataset, Preprocessing, check_lengths
from .lazy_images import decode_mosaics
from .npz_arrays import NpzArrays
from .search import data_root, first_existing, not_found

SIZE = 32
PIXELS = 3 * SIZE * SIZE


@dataclass(frozen=True)
class Archive:
    """How one of the two is published in its binary version.

    Attributes:
        label_bytes: label bytes before each image; the last one is the class.
        images_per_file: in each file of a complete copy.
    """

    name: str
    folder: str
    archive: str
    python_forms: tuple[str, str]
    files: dict[str, tuple[str, ...]]
    names_file: str
    classes: int
    label_bytes: int
    images_per_file: dict[str, int]
    preprocessing: Preprocessing

    @property
    def forms(self) -> tuple[str, ...]:
        """What is looked for below the data root, in this order."""
        short = self.name.replace("-", "")
        return self.archive, self.folder, f"{short}/{self.archive}", f"{short}/{self.folder}", short, f"{short}_*.npz"


CIFAR10 = Archive(
    name="cifar10",
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    python_forms=("cifar-10-python.tar.gz", "cifar-10-batches-py"),
    files={"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
    names_file="batches.meta.txt",
    classes=10,
    label_bytes=1,
    images_per_file={"train": 10_000, "test": 10_000},
    preprocessing=constants.CIFAR10,
)
CIFAR100 = Archive(
    name="cifar100",
    folder="cifar-100-binary",
    archive="cifar-100-binary.tar.gz",
    python_forms=("cifar-100-python.tar.gz", "cifar-100-python"),
    files={"train": ("train.bin",), "test": ("test.bin",)},
    names_file="fine_label_names.txt",
    classes=100,
    label_bytes=2,
    images_per_file={"train": 50_000, "test": 10_000},
    preprocessing=constants.CIFAR100,
)


def load_cifar(archive: Archive, split: str, root: str | Path | None) -> Dataset:
    """Split "train", "test" or "all"; raises DataError naming the file and what is wrong in it."""
    folder = data_root(root, archive.name)
    found = first_existing(folder, archive.forms)
    if found is None:
        refused = first_existing(folder, archive.python_forms)
        if refused is not None:
            raise DataError(f"{refused}: holds pickles, which are not read; get the binary version, {archive.archive}")
        raise not_found(archive.name, folder, archive.forms)
    if found.suffix == ".npz":
        return _from_mosaics(archive, found, split)
    if found.is_dir() and (found / "train").is_dir():
        return load_class_folders(archive.name, found, split, SIZE, archive.preprocessing)
    return _from_binary(archive, found, split)


def _splits(split: str) -> tuple[str, ...]:
    return ("train", "test") if split == "all" else (split,)


def _from_binary(archive: Archive, source: Path, split: str) -> Dataset:
    record = archive.label_bytes + PIXELS
    sizes = {file: archive.images_per_file[part] * record for part in _splits(split) for file in archive.files[part]}
    read = _read_folder if source.is_dir() else _read_archive
    content = read(source, {**sizes, archive.names_file: None})
    names = tuple(content.pop(archive.names_file).decode("ascii", "replace").split())
    if len(names) != archive.classes:
        raise DataError(f"{source}: {archive.names_file} has {len(names)} class names instead of {archive.classes}")
    records = np.concatenate([np.frombuffer(content[file], np.uint8).reshape(-1, record) for file in sizes])
    labels = records[:, archive.label_bytes - 1].astype(np.int64)
    images = np.ascontiguousarray(records[:, archive.label_bytes :]).reshape(-1, 3, SIZE, SIZE)
    return Dataset(images, labels, names, archive.preprocessing, archive.name, split)


def _read_folder(folder: Path, sizes: dict[str, int | None]) -> dict[str, bytes]:
    content = {}
    for file, size in sizes.items():
        path = folder / file
        if not path.is_file():
            raise DataError(f"{path}: missing")
        _check_size(str(path), path.stat().st_size, size)
        content[file] = path.read_bytes()
    return content


def _read_archive(archive: Path, sizes: dict[str, int | None]) -> dict[str, bytes]:
    """The wanted members, read without extracting anything to the disk."""
    content: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:*") as members:
            for member in members:
                file = Path(member.name).name
                if file in sizes and member.isfile():
                    where = f"{archive}: {member.name}"
                    _check_size(where, member.size, sizes[file])
                    stream = members.extractfile(member)
                    content[file] = stream.read() if stream is not None else b""
                    _check_size(where, len(content[file]), member.size)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: truncated or damaged ({error})") from None
    for file in sizes:
        if file not in content:
            raise DataError(f"{archive}: has no {file}")
    return content


def _check_size(where: str, size: int, expected: int | None) -> None:
    """Raise DataError for a length that the published file does not have; None: any small text."""
    if expected is None and size > 2**16:
        raise DataError(f"{where}: {size} bytes are too many for a list of names")
    if expected is not None and size != expected:
        raise DataError(f"{where}: {size} bytes instead of {expected}: truncated, or another data set")


def _from_mosaics(archive: Archive, path: Path, split: str) -> Dataset:
    arrays = NpzArrays(path)
    names = arrays.strings("classes")
    tile = arrays.read("tile") if "tile" in arrays else np.array([SIZE, 40])
    if tile.shape != (2,) or tile[0] != SIZE or tile[1] < 1:
        raise DataError(f"{path}: tile must be [{SIZE}, tiles per row] (got {tile.tolist()})")
    parts: list[tuple[NDArray[np.uint8], NDArray[np.int64]]] = []
    for part in _splits(split):
        sheets = arrays.pieces(f"{part}_webp", f"{part}_offsets")
        images = decode_mosaics(sheets, (SIZE, int(tile[1])), f"{path}: {part}_webp")
        labels = arrays.labels(f"y_{part}")
        # the last sheet may be filled up with empty tiles
        images = images[: len(labels)]
        check_lengths(images, labels, f"{path}: {part}_webp", f"y_{part}")
        parts.append((images, labels))
    inputs, labels = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return Dataset(inputs, labels, names, archive.preprocessing, archive.name, split)
