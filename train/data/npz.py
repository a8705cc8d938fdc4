"""Images and labels in an ``.npz`` file.

Keys: ``x_train``, ``y_train``, ``x_test``, ``y_test``; or ``images`` and ``labels``, of which every fifth sample of
each class is the test split. Optional: ``class_names`` (strings). Images are uint8, bool or float, shaped (N, H, W),
(N, C, H, W), (N, H, W, C) with C <= 4, or frames (N, T, C, H, W).
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .dataset import Dataset, Preprocessing, check_inputs, check_labels, check_lengths, every_fifth

# An array larger than this does not fit the memory of the machines this is meant for; larger data come as folders.
MAX_ARRAY_BYTES = 16 * 2**30
MAX_CHANNELS = 4


def load_npz(path: Path, split: str) -> Dataset:
    """Read split "train", "test" or "all" of ``path``.

    Mean and standard deviation are per channel over the training samples, the divisor is 255 for uint8 and else 1.
    Raises DataError naming the file, the key, the index and the value that is wrong.
    """
    arrays = _Arrays(path)
    splits = _read_splits(arrays, path)
    class_names = _class_names(arrays, path, splits)
    for key, (_, labels) in splits.items():
        check_labels(labels, len(class_names), f"{path}: {_label_key(arrays, key)}")
    preprocessing = _preprocessing(splits["train" if "train" in splits else "test"][0])
    if split == "all":
        inputs, labels = (np.concatenate(parts) for parts in zip(*splits.values(), strict=True))
    elif split in splits:
        inputs, labels = splits[split]
    else:
        raise DataError(f"{path}: no {split} split (the file has {', '.join(arrays.keys)})")
    return Dataset(inputs, labels, class_names, preprocessing, path.stem, split)


class _Arrays:
    """The arrays of an npz file, each checked against its header before anything is allocated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self.keys = [name.removesuffix(".npy") for name in archive.namelist()]
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not a readable .npz file ({error})") from None

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def read(self, key: str) -> NDArray[Any]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                self._check_header(archive, key)
                with archive.open(f"{key}.npy") as stream:
                    return np.lib.format.read_array(stream, allow_pickle=False)
        except (KeyError, OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.path}: {key} cannot be read ({error})") from None

    def _check_header(self, archive: zipfile.ZipFile, key: str) -> None:
        """The data must be as long as the header says, and no longer than memory allows."""
        with archive.open(f"{key}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(stream)
            header_bytes = stream.tell()
        if dtype.hasobject:
            raise DataError(f"{self.path}: {key} holds Python objects (dtype {dtype}); save plain arrays instead")
        needed = dtype.itemsize
        for size in shape:
            needed *= size
        if needed > MAX_ARRAY_BYTES:
            raise DataError(f"{self.path}: {key} of shape {shape} needs {needed} bytes (at most {MAX_ARRAY_BYTES})")
        stored = archive.getinfo(f"{key}.npy").file_size - header_bytes
        if needed != stored:
            raise DataError(f"{self.path}: {key} of shape {shape} needs {needed} bytes but the file holds {stored}")


def _read_splits(arrays: _Arrays, path: Path) -> dict[str, tuple[NDArray[Any], NDArray[np.int64]]]:
    """{split: (inputs, labels)}, converted to our layout."""
    if "images" in arrays and "labels" in arrays:
        inputs, labels = _read_pair(arrays, "images", "labels")
        test = every_fifth(labels)
        return {"train": (inputs[~test], labels[~test]), "test": (inputs[test], labels[test])}
    splits = {
        split: _read_pair(arrays, f"x_{split}", f"y_{split}")
        for split in ("train", "test")
        if f"x_{split}" in arrays or f"y_{split}" in arrays
    }
    if not splits:
        found = ", ".join(arrays.keys) or "nothing"
        raise DataError(f"{path}: needs x_train, y_train, x_test, y_test or images, labels (found {found})")
    return splits


def _read_pair(arrays: _Arrays, x_key: str, y_key: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    for key, partner in ((x_key, y_key), (y_key, x_key)):
        if key not in arrays:
            raise DataError(f"{arrays.path}: has {partner} but no {key}")
    where = f"{arrays.path}: {x_key}"
    inputs = _to_channels_first(_to_uint8_or_float32(arrays.read(x_key), where), where)
    labels = arrays.read(y_key)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(f"{arrays.path}: {y_key} must be integers of shape (N,) (got {labels.dtype} {labels.shape})")
    check_inputs(inputs, where)
    check_lengths(inputs, labels, where, y_key)
    return inputs, labels.astype(np.int64)


def _to_uint8_or_float32(inputs: NDArray[Any], where: str) -> NDArray[Any]:
    if inputs.dtype == np.bool_:
        return inputs.astype(np.uint8)
    if inputs.dtype == np.uint8:
        return inputs
    if inputs.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what does not fit becomes infinite and is refused by check_inputs
            return inputs.astype(np.float32)
    raise DataError(f"{where}: dtype must be uint8, bool or a float (got {inputs.dtype})")


def _to_channels_first(inputs: NDArray[Any], where: str) -> NDArray[Any]:
    if inputs.ndim == 3:
        return inputs[:, None]
    if inputs.ndim in (4, 5):
        if inputs.shape[-3] <= MAX_CHANNELS:
            return inputs
        if inputs.shape[-1] <= MAX_CHANNELS:
            return np.ascontiguousarray(np.moveaxis(inputs, -1, -3))
    raise DataError(
        f"{where}: shape must be (N, H, W), (N, C, H, W), (N, H, W, C) or (N, T, C, H, W) with at most "
        f"{MAX_CHANNELS} channels (got {inputs.shape})"
    )


def _class_names(arrays: _Arrays, path: Path, splits: dict[str, tuple[Any, NDArray[np.int64]]]) -> tuple[str, ...]:
    """The file's names, else the numbers 0..max, every one of which must have a sample."""
    if "class_names" in arrays:
        names = arrays.read("class_names")
        if names.dtype.kind != "U" or names.ndim != 1:
            raise DataError(f"{path}: class_names must be a list of strings (got {names.dtype} {names.shape})")
        return tuple(str(name) for name in names)
    for key, (_, labels) in splits.items():
        if labels.min() < 0:
            check_labels(labels, int(labels.max()) + 1, f"{path}: {_label_key(arrays, key)}")
    present = np.unique(np.concatenate([labels for _, labels in splits.values()]))
    gaps = np.flatnonzero(present != np.arange(len(present)))
    if len(gaps):
        above = int(present[gaps[0]])
        raise DataError(
            f"{path}: there is a label {above} but no sample of class {int(gaps[0])}; "
            "number the classes from 0 without gaps, or name them all in class_names"
        )
    return tuple(str(label) for label in present)


def _label_key(arrays: _Arrays, split: str) -> str:
    return f"y_{split}" if f"y_{split}" in arrays else "labels"


def _preprocessing(inputs: NDArray[Any]) -> Preprocessing:
    """Per channel over all samples, in pieces so that no float64 copy of the whole is made."""
    divisor = 255.0 if inputs.dtype == np.uint8 else 1.0
    total = np.zeros(inputs.shape[-3])
    squares = np.zeros_like(total)
    axes = tuple(axis for axis in range(inputs.ndim) if axis != inputs.ndim - 3)
    for start in range(0, len(inputs), 256):
        piece = inputs[start : start + 256].astype(np.float64) / divisor
        total += piece.sum(axes)
        squares += (piece**2).sum(axes)
    count = inputs.size / inputs.shape[-3]
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)
    std = np.where(variance > 0, np.sqrt(variance), 1.0)
    return Preprocessing(divisor, tuple(mean.tolist()), tuple(std.tolist()))
