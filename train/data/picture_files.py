"""Image files made to fit a program, whatever their size and colours: a folder, or a single file.

    pictures = load_pictures(Path("photos"), (3, 32, 32), ("cat", "dog"))

A folder may hold one folder of images per class, named like the classes; such folders in `train` and `test` (or `val`);
or images alone, which then have no labels.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .class_folders import TEST_FOLDERS, find_test_folder
from .dataset import every_fifth
from .lazy_images import MODES, SUFFIXES, FittedImages, open_image

# Names in a message; more would not be read.
MOST_NAMES = 12
# Headers that are read at a time.
AT_A_TIME = 1024


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images as a program takes them.

    Attributes:
        inputs: uint8 (N, C, H, W), decoded where they are indexed; 255 is white.
        labels: int64 (N,), positions in the program's classes; None where the images lie in no class folders.
        files: one per image.
        name, split: of the folder or the file; "train", "test" or "all".
        notes: what was changed or left out, one sentence each.
    """

    inputs: FittedImages
    labels: NDArray[np.int64] | None
    files: tuple[Path, ...]
    name: str
    split: str
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)


def is_picture(path: Path) -> bool:
    """Whether the name is that of an image file."""
    return path.suffix.lower() in SUFFIXES


def load_pictures(
    path: Path,
    shape: tuple[int, ...],
    classes: Sequence[str],
    split: str | None = None,
    samples: int | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Pictures:
    """The images in ``path``, or the image ``path``, for a program that takes ``shape`` (C, H, W).

    Args:
        classes: names that class folders may have; empty: any, numbered in alphabetical order.
        split: "train", "test" or "all"; None: "test" where the folder has one, else "all". Of class folders without
            splits, every fifth image of a class is for testing. Images without labels are always all taken.
        samples: only that many, the first ones.
        progress: called with 1, and the number of images, for every one whose header has been read.

    Raises DataError naming the file or folder and the reason: no image, one that cannot be read, a class folder that is
    named like no class, a shape that is not an image's. An image whose pixels are damaged raises when it is indexed.
    """
    if len(shape) != 3 or shape[0] not in MODES:
        raise DataError(f"{path}: the program takes samples of {shape}, images have 1 or 3 channels")
    files, labels, taken, notes = _find(path, classes, split)
    files, labels = files[:samples], None if labels is None else labels[:samples]
    fitted = (shape[0], shape[1], shape[2])
    notes += _changes(files, fitted, progress)
    return Pictures(FittedImages(files, fitted), labels, tuple(files), path.resolve().name, taken, tuple(notes))


# ---------------------------------------------------------------------------------------- finding

Found = tuple[list[Path], NDArray[np.int64] | None, str, list[str]]


def _find(path: Path, classes: Sequence[str], split: str | None) -> Found:
    """(files, labels, the split that was taken, notes)."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [path], None, "all", []
    if (path / "train").is_dir() and any((path / name).is_dir() for name in TEST_FOLDERS):
        return _find_in_splits(path, classes, split or "test")
    folders, loose = _class_folders(path), _images_in(path)
    if folders:
        notes = [f"{_counted(len(loose), 'image')} beside the class folders left out"] if loose else []
        return *_of_split(path, *_labelled(path, folders, classes), split or "all"), split or "all", notes
    if not loose:
        raise DataError(f"{path}: no image in it ({', '.join(SUFFIXES)})")
    return loose, None, "all", []


def _find_in_splits(path: Path, classes: Sequence[str], split: str) -> Found:
    parts = {"train": [path / "train"], "test": [find_test_folder(path)]}
    parts["all"] = parts["train"] + parts["test"]
    files, labels = [], []
    for folder in parts[split]:
        folders = _class_folders(folder)
        if not folders:
            raise DataError(f"{folder}: no class folder with an image in it ({', '.join(SUFFIXES)})")
        more, their_labels = _labelled(folder, folders, classes)
        files += more
        labels.append(their_labels)
    return files, np.concatenate(labels), split, []


def _class_folders(path: Path) -> dict[str, list[Path]]:
    """{name: images} of the folders that have any, in alphabetical order."""
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    found = {folder.name: _images_in(folder / "images") or _images_in(folder) for folder in folders}
    return {name: images for name, images in found.items() if images}


def _images_in(path: Path) -> list[Path]:
    """In the order of their names; hidden files, such as the ones that macOS puts beside every file, are none."""
    if not path.is_dir():
        return []
    files = (file for file in path.iterdir() if is_picture(file) and not file.name.startswith("."))
    return sorted((file for file in files if file.is_file()), key=lambda file: file.name)


def _labelled(
    path: Path, folders: dict[str, list[Path]], classes: Sequence[str]
) -> tuple[list[Path], NDArray[np.int64]]:
    known = list(classes) or list(folders)
    labels = [_label(path, name, known) for name in folders]
    files = [file for images in folders.values() for file in images]
    return files, np.repeat(np.array(labels, np.int64), [len(images) for images in folders.values()])


def _label(path: Path, name: str, classes: list[str]) -> int:
    """The position of a class of that name, in capital letters or small ones."""
    if name in classes:
        return classes.index(name)
    alike = [index for index, known in enumerate(classes) if known.casefold() == name.casefold()]
    if len(alike) == 1:
        return alike[0]
    close = difflib.get_close_matches(name, classes, n=1)
    suggestion = f" (did you mean {close[0]!r}?)" if close else ""
    names = ", ".join(classes[:MOST_NAMES]) + (", ..." if len(classes) > MOST_NAMES else "")
    raise DataError(
        f"{path / name}: no class of the program is called {name!r}{suggestion}; there are {names}. Name the folders "
        "like the classes, or give a folder with nothing but images"
    )


def _of_split(
    path: Path, files: list[Path], labels: NDArray[np.int64], split: str
) -> tuple[list[Path], NDArray[np.int64]]:
    test = every_fifth(labels)
    chosen = np.flatnonzero({"train": ~test, "test": test, "all": np.ones_like(test)}[split])
    if not len(chosen):
        raise DataError(
            f"{path}: every fifth image of a class is in the test split, and no class has five; give --split all"
        )
    return [files[index] for index in chosen], labels[chosen]


# ---------------------------------------------------------------------------------------- fitting


def _changes(files: list[Path], shape: tuple[int, int, int], progress: Callable[[int, int], object]) -> list[str]:
    """What `FittedImages` will do to them, from their headers alone; raises DataError for a file that has none."""
    channels, height, width = shape
    sizes: Counter[tuple[int, int]] = Counter()
    modes: Counter[str] = Counter()
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), AT_A_TIME):  # the pool keeps more of each than its header is long
            for size, mode in pool.map(_header, files[start : start + AT_A_TIME]):
                sizes[size] += 1
                modes[mode] += 1
                progress(1, len(files))
    notes = []
    others = len(files) - sizes.pop((width, height), 0)
    if others:
        most = sizes.most_common(1)[0][0]
        before = f"{most[0]} x {most[1]}" + (f" and {_counted(len(sizes) - 1, 'other size')}" if len(sizes) > 1 else "")
        notes.append(f"{_of(others, len(files))} resized to {width} x {height} pixels, the centre kept (from {before})")
    others = len(files) - modes[MODES[channels]]
    if others:
        notes.append(f"{_of(others, len(files))} converted to {'grey' if channels == 1 else 'RGB'}")
    return notes


def _header(path: Path) -> tuple[tuple[int, int], str]:
    with open_image(path, str(path)) as image:
        return image.size, image.mode


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _of(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} images" if whole > 1 else "the image"
