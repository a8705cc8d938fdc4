"""MNIST (LeCun 1998): 28 x 28 grey digits, 60,000 / 10,000, from idx files (plain or .gz) or an npz."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from . import constants
from .dataset import Dataset, check_lengths
from .npz_arrays import NpzArrays
from .npz_sets import read_splits
from .search import data_root, first_existing, not_found

FOLDERS = ("", "mnist/", "MNIST/", "MNIST/raw/")
PREFIX = {"train": "train", "test": "t10k"}
NPZ = ("mnist.npz", "mnist_*.npz", "mnist/mnist.npz")
NAMES = tuple(str(digit) for digit in range(10))
MAX_BYTES = 2**30


def load_mnist(split: str, root: str | Path | None) -> Dataset:
    """Split "train", "test" or "all"; raises DataError naming the file and what is wrong in it."""
    folder = data_root(root, "mnist")
    splits = ("train", "test") if split == "all" else (split,)
    npz = first_existing(folder, NPZ)
    if _idx_path(folder, PREFIX[splits[0]], "images", 3) is not None:
        parts = [_read_idx_split(folder, PREFIX[part]) for part in splits]
    elif npz is not None:
        available = read_splits(NpzArrays(npz), npz)
        missing = [part for part in splits if part not in available]
        if missing:
            raise DataError(f"{npz}: no {missing[0]} split")
        parts = [available[part] for part in splits]
    else:
        raise not_found("mnist", folder, (f"{PREFIX[splits[0]]}-images-idx3-ubyte[.gz]", *NPZ))
    inputs, labels = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return Dataset(inputs, labels, NAMES, constants.MNIST, "mnist", split)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes with that many dimensions; raises DataError naming file and reason."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            header = stream.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, 8, dimensions]):
                raise DataError(f"{path}: not an idx file of unsigned bytes with {dimensions} dimensions")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = math.prod(shape)
            if not 1 <= size <= MAX_BYTES:
                raise DataError(f"{path}: its header promises {size} bytes (1 to {MAX_BYTES})")
            data = stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: truncated or damaged ({error})") from None
    if len(data) != size:
        raise DataError(f"{path}: {'more' if len(data) > size else len(data)} bytes where shape {shape} needs {size}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_idx_split(folder: Path, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    paths = []
    for kind, dimensions in (("images", 3), ("labels", 1)):
        path = _idx_path(folder, prefix, kind, dimensions)
        if path is None:
            raise DataError(f"{folder}: no {prefix}-{kind}-idx{dimensions}-ubyte[.gz]")
        paths.append(path)
    images, labels = read_idx(paths[0], 3), read_idx(paths[1], 1).astype(np.int64)
    check_lengths(images, labels, str(paths[0]), str(paths[1]))
    return images[:, None], labels


def _idx_path(root: Path, prefix: str, kind: str, dimensions: int) -> Path | None:
    stems = [f"{folder}{prefix}-{kind}{mark}idx{dimensions}-ubyte" for folder in FOLDERS for mark in "-."]
    return first_existing(root, [stem + suffix for stem in stems for suffix in ("", ".gz")])
