"""Data sets by name or by path."""

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import DataError
from .cifar import CIFAR10, CIFAR100, load_cifar
from .class_folders import load_folder
from .dataset import Dataset
from .digits import load_digits
from .event_sets import load_dvs_cifar10, load_nmnist
from .folds import split_fold, take_fold, with_fold
from .imagenet import load_imagenet, load_tiny_imagenet
from .mnist import load_mnist
from .npz_sets import load_npz

SPLITS = ("train", "test", "all")

Root = str | Path | None

# name -> function of (split, root)
DATASETS: dict[str, Callable[[str, Root], Dataset]] = {
    "digits": lambda split, root: load_digits(split),
    "mnist": load_mnist,
    "cifar10": partial(load_cifar, CIFAR10),
    "cifar100": partial(load_cifar, CIFAR100),
    "tiny-imagenet": load_tiny_imagenet,
    "imagenet": load_imagenet,
    "nmnist": partial(load_nmnist, ""),
    "dvs-cifar10": partial(load_dvs_cifar10, ""),
}
# name -> function of (framing, split, root): event recordings, whose name may go on with ":BINS[:time|count[:SIZE]]"
RECORDINGS: dict[str, Callable[[str, str, Root], Dataset]] = {
    "nmnist": load_nmnist,
    "dvs-cifar10": load_dvs_cifar10,
}


def is_named(name: str) -> bool:
    """Whether ``name`` is that of a data set, with or without framing and fold; else it is a path."""
    return split_fold(name)[0].partition(":")[0] in DATASETS


def one_frame_per_step(name: str, time_steps: int) -> str:
    """The name under which event recordings come as one frame per time-step; any other name is unchanged."""
    base, fold = split_fold(name)
    family, _, framing = base.partition(":")
    if family not in RECORDINGS:
        return name
    return with_fold(":".join([family, str(time_steps), *framing.split(":")[1:]]), fold)


def load(name_or_path: str | Path, split: str, root: str | Path | None = None) -> Dataset:
    """Load a split ("train", "test" or "all") of a named data set, of an ``.npz`` file or of a folder of images.

    ``root`` is the folder in which a named data set is looked up; without it the environment variable HMDF_DATA says
    where. Event data sets take the number of frames and how to cut them behind a colon: "nmnist:4:count". Behind an @
    a fold may follow, "nmnist:4:count@2/5": both splits pooled, the second of five parts is the test split. Raises
    DataError; for an unknown name it suggests the nearest known one.
    """
    if split not in SPLITS:
        raise DataError(f"split must be one of {', '.join(SPLITS)} (got {split!r})")
    name, fold = split_fold(str(name_or_path))
    if fold is not None:
        if split_fold(name)[1] is not None:
            raise DataError(f"{name_or_path}: names two folds, give one")
        return take_fold(load(name, "all", root), fold, split, own_statistics=not is_named(name))
    if name in DATASETS:
        return DATASETS[name](split, root)
    family, _, framing = name.partition(":")
    if family in RECORDINGS and framing:
        return RECORDINGS[family](framing, split, root)
    path = Path(name)
    if path.suffix == ".npz":
        return load_npz(path, split)
    if path.is_dir():
        return load_folder(path, split)
    close = difflib.get_close_matches(name, DATASETS, n=1)
    suggestion = f" (did you mean {close[0]!r}?)" if close else ""
    known = ", ".join(sorted(DATASETS))
    raise DataError(
        f"no data set is called {name!r}{suggestion}; there are {known}, or give a path to an .npz file or a folder"
    )
