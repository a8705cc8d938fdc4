"""Data sets by name or by path."""

import difflib
from collections.abc import Callable
from pathlib import Path

from ..errors import DataError
from .dataset import Dataset
from .digits import load_digits
from .npz import load_npz

SPLITS = ("train", "test", "all")

# name -> function of (split, root)
DATASETS: dict[str, Callable[[str, Path | None], Dataset]] = {"digits": lambda split, root: load_digits(split)}


def load(name_or_path: str | Path, split: str, root: str | Path | None = None) -> Dataset:
    """Load a split ("train", "test" or "all") of a named data set, or of an ``.npz`` file by its path.

    ``root`` is the folder in which a named data set is looked up. Raises DataError; for an unknown name it suggests the
    nearest known one.
    """
    if split not in SPLITS:
        raise DataError(f"split must be one of {', '.join(SPLITS)} (got {split!r})")
    name = str(name_or_path)
    if name in DATASETS:
        return DATASETS[name](split, None if root is None else Path(root))
    path = Path(name_or_path)
    if path.suffix == ".npz":
        return load_npz(path, split)
    close = difflib.get_close_matches(name, DATASETS, n=1)
    suggestion = f" (did you mean {close[0]!r}?)" if close else ""
    known = ", ".join(sorted(DATASETS))
    raise DataError(f"no data set is called {name!r}{suggestion}; there are {known}, or give a path to an .npz file")
