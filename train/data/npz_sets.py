"""Images and labels in an ``.npz`` file.

Keys: ``x_train``, ``y_train``, ``x_test``, ``y_test``; or ``images`` and ``labels``, of which every fifth sample of
each class is the test split. Optional: ``class_names`` (strings). Images are uint8, bool or float, shaped (N, H, W),
(N, C, H, W), (N, H, W, C) with C <= 4, or frames (N, T, C, H, W).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .dataset import Dataset, Preprocessing, check_inputs, check_labels, check_lengths, every_fifth
from .npz_arrays import NpzArrays

MAX_CHANNELS = 4


def load_npz(path: Path, split: str) -> Dataset:
    """Read split "train", "test" or "all" of ``path``.

    Mean and standard deviation are per channel over the training samples, the divisor is 255 for uint8 and else 1.
    Frames of uint8 are event counts and stay as they are: a pixel without events must stay 0.
    Raises DataError naming the file, the key, the index and the value that is wrong.
    """
    arrays = NpzArrays(path)
    splits = read_splits(arrays, path)
    class_names = _class_names(arrays, path, splits)
    for key, (_, labels) in splits.items():
        check_labels(labels, len(class_names), f"{path}: {_label_key(arrays, key)}")
    preprocessing = statistics(splits["train" if "train" in splits else "test"][0])
    if split == "all":
        inputs, labels = (np.concatenate(parts) for parts in zip(*splits.values(), strict=True))
    elif split in splits:
        inputs, labels = splits[split]
    else:
        raise DataError(f"{path}: no {split} split (the file has {', '.join(arrays.keys)})")
    return Dataset(inputs, labels, class_names, preprocessing, path.stem, split)


def statistics(inputs: NDArray[Any]) -> Preprocessing:
    """How a model that is trained on these inputs normalises: see `load_npz`."""
    if inputs.ndim == 5 and inputs.dtype == np.uint8:
        return Preprocessing(1.0, (0.0,), (1.0,))
    return channel_statistics(inputs)


def read_splits(arrays: NpzArrays, path: Path) -> dict[str, tuple[NDArray[Any], NDArray[np.int64]]]:
    """{split: (inputs, labels)} of what the file has, converted to our layout."""
    if "images" in arrays and "labels" in arrays:
        inputs, labels = _read_pair(arrays, "images", "labels")
        test = every_fifth(labels)
        if not test.any():
            raise DataError(f"{path}: every fifth sample of a class is for testing, and no class has five; add samples")
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


def _read_pair(arrays: NpzArrays, x_key: str, y_key: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    for key, partner in ((x_key, y_key), (y_key, x_key)):
        if key not in arrays:
            raise DataError(f"{arrays.path}: has {partner} but no {key}")
    where = f"{arrays.path}: {x_key}"
    inputs = _to_channels_first(_to_uint8_or_float32(arrays.read(x_key), where), where)
    labels = arrays.labels(y_key)
    check_inputs(inputs, where)
    check_lengths(inputs, labels, where, y_key)
    return inputs, labels


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


def _class_names(arrays: NpzArrays, path: Path, splits: dict[str, tuple[Any, NDArray[np.int64]]]) -> tuple[str, ...]:
    """The file's names, else the numbers 0..max, every one of which must have a sample."""
    if "class_names" in arrays:
        return arrays.strings("class_names")
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


def _label_key(arrays: NpzArrays, split: str) -> str:
    return f"y_{split}" if f"y_{split}" in arrays else "labels"


def channel_statistics(inputs: NDArray[Any]) -> Preprocessing:
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
