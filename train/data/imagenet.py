"""ImageNet-1k (a folder per class) and Tiny-ImageNet (ImageNet-200, 64 x 64), decoded when they are used."""

from pathlib import Path

import numpy as np

from ..errors import DataError
from . import constants
from .class_folders import flatten, load_class_folders, read_classes
from .dataset import Dataset, check_lengths
from .lazy_images import LazyImages, decode
from .npz_arrays import NpzArrays
from .search import data_root, first_existing, not_found

IMAGENET_FORMS = ("imagenet", "ImageNet", "imagenet-1k", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")
TINY_FORMS = ("tiny-imagenet-200", "tiny-imagenet", "tiny_imagenet_*.npz")
TINY_SIZE = 64
# Shorter side, then the central square: the test protocol of ImageNet. With resized_crop, training takes parts of the
# whole image.
RESIZE = 256
CROP = {"train": 256, "test": 224, "all": 224}


def load_imagenet(split: str, root: str | Path | None) -> Dataset:
    """`ROOT/imagenet/train/CLASS/*.JPEG` and `ROOT/imagenet/val/CLASS/*.JPEG`; "test" is the validation split.

    Images come with a shorter side of 256, cut to the central 256 x 256 ("train") or 224 x 224 ("test", "all").
    """
    folder = data_root(root, "imagenet")
    found = first_existing(folder, IMAGENET_FORMS)
    if found is None:
        raise not_found("imagenet", folder, [f"{form}/train/CLASS/*.JPEG" for form in IMAGENET_FORMS])
    return load_class_folders("imagenet", found, split, CROP[split], constants.IMAGENET, RESIZE)


def load_tiny_imagenet(split: str, root: str | Path | None) -> Dataset:
    """The published folder, class folders, or an npz of JPEG files; "test" is the validation split."""
    folder = data_root(root, "tiny-imagenet")
    found = first_existing(folder, TINY_FORMS)
    if found is None:
        raise not_found("tiny-imagenet", folder, TINY_FORMS)
    if found.suffix == ".npz":
        return _from_jpeg_npz(found, split)
    if (found / "val" / "val_annotations.txt").is_file():
        return _from_published_folder(found, split)
    return load_class_folders("tiny-imagenet", found, split, TINY_SIZE, constants.TINY_IMAGENET)


def _from_published_folder(path: Path, split: str) -> Dataset:
    """train/WNID/images/*.JPEG; val/images/*.JPEG with their classes in val_annotations.txt."""
    train = read_classes(path / "train")
    names = tuple(train)
    files, labels = flatten(train)
    if split != "train":
        val_files, val_labels = _annotated(path / "val", names)
        files, labels = {
            "test": (val_files, val_labels),
            "all": (files + val_files, np.concatenate([labels, val_labels])),
        }[split]
    return Dataset(LazyImages(files, TINY_SIZE), labels, names, constants.TINY_IMAGENET, "tiny-imagenet", split)


def _annotated(folder: Path, names: tuple[str, ...]) -> tuple[list[Path], np.ndarray]:
    table = folder / "val_annotations.txt"
    label_of = {name: index for index, name in enumerate(names)}
    files, labels = [], []
    for number, line in enumerate(table.read_text().splitlines(), 1):
        columns = line.split("\t")
        if len(columns) < 2 or columns[1] not in label_of:
            raise DataError(f"{table}: line {number} names no class of the training split ({line[:60]!r})")
        path = folder / "images" / Path(columns[0]).name
        if not path.is_file():
            raise DataError(f"{path}: missing, although line {number} of {table.name} lists it")
        files.append(path)
        labels.append(label_of[columns[1]])
    if not files:
        raise DataError(f"{table}: lists no image")
    return files, np.array(labels, np.int64)


def _from_jpeg_npz(path: Path, split: str) -> Dataset:
    """Keys train_jpeg, train_offsets, y_train, val_jpeg, val_offsets, y_val, wnids."""
    arrays = NpzArrays(path)
    images, labels = [], []
    for part in {"train": ["train"], "test": ["val"], "all": ["train", "val"]}[split]:
        files = arrays.pieces(f"{part}_jpeg", f"{part}_offsets")
        their_labels = arrays.labels(f"y_{part}")
        decoded = [decode(file.tobytes(), f"{path}: {part}_jpeg[{index}]") for index, file in enumerate(files)]
        wrong = [index for index, image in enumerate(decoded) if image.shape != (3, TINY_SIZE, TINY_SIZE)]
        if wrong:
            raise DataError(f"{path}: {part}_jpeg[{wrong[0]}] is not {TINY_SIZE} x {TINY_SIZE} pixels")
        stacked = np.stack(decoded)
        check_lengths(stacked, their_labels, f"{path}: {part}_jpeg", f"y_{part}")
        images.append(stacked)
        labels.append(their_labels)
    return Dataset(
        np.concatenate(images),
        np.concatenate(labels),
        arrays.strings("wnids"),
        constants.TINY_IMAGENET,
        "tiny-imagenet",
        split,
    )
