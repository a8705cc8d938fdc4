"""Image data sets as folders: one per split, in it one per class, in it the images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from .dataset import Dataset, Preprocessing, every_fifth
from .lazy_images import SUFFIXES, LazyImages
from .npz_sets import channel_statistics

TEST_FOLDERS = ("test", "val")


def load_folder(path: Path, split: str) -> Dataset:
    """A folder of one's own: `PATH/train/CLASS/*.png` and `PATH/test/...`, or `PATH/CLASS/*.png`.

    In the second form every fifth image of each class, in the order of the file names, is the test split. All images
    must have one size. Normalised by the statistics of the training images. Raises DataError naming the file.
    """
    if (path / "train").is_dir():
        train, test = read_classes(path / "train"), read_classes(find_test_folder(path))
        check_same_classes(train, test, path)
        parts = {"train": flatten(train), "test": flatten(test)}
    else:
        files, labels = flatten(train := read_classes(path))
        chosen = every_fifth(labels)
        parts = {
            key: ([file for file, kept in zip(files, mask, strict=True) if kept], labels[mask])
            for key, mask in (("train", ~chosen), ("test", chosen))
        }
    parts["all"] = (parts["train"][0] + parts["test"][0], np.concatenate([parts["train"][1], parts["test"][1]]))
    files, labels = parts[split]
    size = _common_size(files or parts["all"][0])
    statistics = channel_statistics(LazyImages(parts["train"][0], size)[:])
    return Dataset(LazyImages(files, size)[:], labels, tuple(train), statistics, path.name, split)


def load_class_folders(
    name: str, path: Path, split: str, size: int, preprocessing: Preprocessing, resize: int | None = None
) -> Dataset:
    """A published data set as PATH/train/CLASS/* and PATH/test/CLASS/* (or val), decoded lazily."""
    train, test = read_classes(path / "train"), read_classes(find_test_folder(path))
    check_same_classes(train, test, path)
    files: list[Path] = []
    labels = []
    for classes in {"train": [train], "test": [test], "all": [train, test]}[split]:
        more, their_labels = flatten(classes)
        files += more
        labels.append(their_labels)
    inputs = LazyImages(files, size, resize)
    return Dataset(inputs, np.concatenate(labels), tuple(train), preprocessing, name, split)


def find_test_folder(path: Path) -> Path:
    """PATH/test or PATH/val; raises DataError if there is neither."""
    for name in TEST_FOLDERS:
        if (path / name).is_dir():
            return path / name
    raise DataError(f"{path}: has a folder train but neither {' nor '.join(TEST_FOLDERS)}")


def read_classes(path: Path, suffixes: Sequence[str] = SUFFIXES) -> dict[str, list[Path]]:
    """{class: its files in the order of their names}, classes in alphabetical order; raises DataError for an empty one.

    Files may also lie one folder deeper, in CLASS/images.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder")
    classes = {}
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        inner = folder / "images" if (folder / "images").is_dir() else folder
        classes[folder.name] = sorted(
            (file for file in inner.iterdir() if file.suffix.lower() in suffixes), key=lambda file: file.name
        )
        if not classes[folder.name]:
            raise DataError(f"{inner}: the class {folder.name} has no file ({', '.join(suffixes)})")
    if not classes:
        raise DataError(f"{path}: no class folders in it")
    return classes


def check_same_classes(train: dict[str, list[Path]], test: dict[str, list[Path]], path: Path) -> None:
    """Raise DataError naming the first class that only one of the splits has."""
    for one, other, lacking in ((train, test, "test"), (test, train, "training")):
        missing = sorted(set(one) - set(other))
        if missing:
            raise DataError(f"{path}: the {lacking} split has no class {missing[0]}, the other one has")


def flatten(classes: dict[str, list[Path]]) -> tuple[list[Path], np.ndarray]:
    """(files, labels): the label is the position of the class."""
    files = [file for members in classes.values() for file in members]
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(members) for members in classes.values()])
    return files, labels


def _common_size(files: list[Path]) -> int:
    """Height and width of the first image, which must be square."""
    from .lazy_images import decode

    _, height, width = decode(files[0], str(files[0])).shape
    if height != width:
        raise DataError(f"{files[0]}: {width} x {height} pixels; images must be square, all of one size")
    return height
