"""N-MNIST (Orchard 2015) and DVS-CIFAR10 (Li 2017) as frames.

A name may say how the frames are made: ``nmnist:10:time``, ``dvs-cifar10:10:count:48`` (see ``Framing``); what it
leaves out is 10 bins by time, 48 x 48 pixels for DVS-CIFAR10. A data set's own name says it all, so that whoever reads
the name out of a checkpoint gets the same frames.
"""

import dataclasses
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from . import constants
from .class_folders import flatten, read_classes
from .dataset import Dataset, check_lengths
from .event_frames import Framing, to_frames
from .event_readers import NMNIST, READERS, Events, read_events
from .npz_arrays import NpzArrays
from .search import cache_folder, data_root, first_existing, not_found

NMNIST_FORMS = ("nmnist", "N-MNIST", "NMNIST", "n-mnist", "nmnist_*.npz")
NMNIST_FOLDERS = {"train": "Train", "test": "Test"}
NMNIST_FRAMING = Framing(10, "time", None)
DVS_CIFAR10_FORMS = ("dvs-cifar10", "DVS-CIFAR10", "CIFAR10-DVS", "CIFAR10DVS", "cifar10-dvs")
DVS_CIFAR10_FRAMING = Framing(10, "time", 48)
# There is no published split; the usual one is the last tenth of each class, in the order of the file numbers.
TEST_SHARE = 10


def load_nmnist(framing: str, split: str, root: str | Path | None) -> Dataset:
    """ROOT/nmnist/Train/0..9/*.bin and Test, or an npz of event arrays."""
    chosen = NMNIST_FRAMING.with_text(framing)
    folder = data_root(root, "nmnist")
    found = first_existing(folder, NMNIST_FORMS)
    if found is None:
        raise not_found("nmnist", folder, NMNIST_FORMS)
    splits = ("train", "test") if split == "all" else (split,)
    read = _nmnist_npz if found.suffix == ".npz" else _nmnist_folder
    parts = [read(found, part, chosen) for part in splits]
    frames, labels = (np.concatenate(pieces) for pieces in zip(*parts, strict=True)) if len(parts) > 1 else parts[0]
    names = tuple(str(digit) for digit in range(10))
    return Dataset(frames, labels, names, constants.EVENT_COUNTS, f"nmnist:{chosen}", split)


def load_dvs_cifar10(framing: str, split: str, root: str | Path | None) -> Dataset:
    """ROOT/dvs-cifar10/CLASS/*.aedat; "test" is the last tenth of each class, in the order of the file numbers."""
    chosen = DVS_CIFAR10_FRAMING.with_text(framing)
    folder = data_root(root, "dvs-cifar10")
    found = first_existing(folder, DVS_CIFAR10_FORMS)
    if found is None:
        raise not_found("dvs-cifar10", folder, [f"{form}/CLASS/*.aedat" for form in DVS_CIFAR10_FORMS])
    classes = read_classes(found, (".aedat", ".aedat4"))
    of_split = {name: _tenth(sorted(files, key=_natural), split) for name, files in classes.items()}
    files, labels = flatten(of_split)
    if not files:
        raise DataError(f"{found}: fewer than {TEST_SHARE} recordings in each class leave none for the {split} split")
    frames = _cached(files, chosen, _upright)
    return Dataset(frames, labels, tuple(classes), constants.EVENT_COUNTS, f"dvs-cifar10:{chosen}", split)


def _upright(path: Path) -> Events:
    """The sensor stood on its side: the recordings show the pictures upright when both axes change places."""
    events = read_events(path)
    return dataclasses.replace(events, x=events.width - 1 - events.y, y=events.x)


def _tenth(files: list[Path], split: str) -> list[Path]:
    first_test = len(files) - len(files) // TEST_SHARE
    return {"train": files[:first_test], "test": files[first_test:], "all": files}[split]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key in which cifar10_dog_10 follows cifar10_dog_9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _nmnist_folder(path: Path, split: str, framing: Framing) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    classes = read_classes(path / NMNIST_FOLDERS[split], (".bin",))
    if list(classes) != [str(digit) for digit in range(10)]:
        raise DataError(f"{path / NMNIST_FOLDERS[split]}: class folders must be 0..9 (found {', '.join(classes)})")
    files, labels = flatten(classes)
    return _cached(files, framing, read_events), labels


def _nmnist_npz(path: Path, split: str, framing: Framing) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Keys {split}_x, _y, _p, _t, _offsets, _labels."""
    arrays = NpzArrays(path)
    labels = arrays.labels(f"{split}_labels")
    columns = [arrays.pieces(f"{split}_{name}", f"{split}_offsets") for name in "xypt"]
    check_lengths(np.empty(len(columns[0])), labels, f"{path}: {split}_offsets", f"{split}_labels")
    recordings = zip(*columns, strict=True)
    frames = [
        to_frames(Events(x, y, p, t, NMNIST, NMNIST, f"{path}: {split} recording {index}"), framing)
        for index, (x, y, p, t) in enumerate(recordings)
    ]
    return np.stack(frames), labels


def _cached(files: list[Path], framing: Framing, read: Callable[[Path], Events]) -> NDArray[np.uint8]:
    """The frames of all files (N, T, 2, H, W), converted once and from then on mapped from the cache folder."""
    stats = [path.stat() for path in files]
    state = [(str(path.resolve()), stat.st_size, stat.st_mtime_ns) for path, stat in zip(files, stats, strict=True)]
    key = hashlib.sha256(repr((state, str(framing), sorted(READERS))).encode()).hexdigest()[:24]
    path = cache_folder() / f"frames-{key}.npy"
    if path.exists():
        return np.load(path, mmap_mode="r", allow_pickle=False)
    first = to_frames(read(files[0]), framing)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".frames-") as unfinished:
        beside = Path(unfinished) / path.name
        frames = np.lib.format.open_memmap(beside, mode="w+", dtype=np.uint8, shape=(len(files), *first.shape))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for index, converted in enumerate(pool.map(lambda file: to_frames(read(file), framing), files)):
                if converted.shape != first.shape:
                    raise DataError(f"{files[index]}: sensor of another size than {files[0]}")
                frames[index] = converted
        frames.flush()
        del frames
        os.replace(beside, path)
    return np.load(path, mmap_mode="r", allow_pickle=False)
