"""Where the files of a named data set are looked for, and how a missing one is reported."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import DataError

ROOT_VARIABLE = "HMDF_DATA"
CACHE_VARIABLE = "HMDF_CACHE"


def data_root(root: str | Path | None, name: str) -> Path:
    """The folder of the data sets: ``root``, else the environment variable HMDF_DATA. Raises DataError without one."""
    chosen = root if root is not None else os.environ.get(ROOT_VARIABLE)
    if not chosen:
        raise DataError(f"{name}: where are the data? Give --data-root FOLDER or set {ROOT_VARIABLE}")
    folder = Path(chosen)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (looked for the data set {name} there)")
    return folder


def cache_folder() -> Path:
    """Where converted recordings are kept: HMDF_CACHE, else hmdf in the user's cache folder."""
    own = os.environ.get(CACHE_VARIABLE)
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hmdf"


def first_existing(root: Path, candidates: Iterable[str]) -> Path | None:
    """The first of ``candidates`` (file or folder names or glob patterns, relative to ``root``) that exists."""
    for candidate in candidates:
        if candidate == ".":
            return root
        found = sorted(root.glob(candidate))
        if found:
            return found[0]
    return None


def not_found(name: str, root: Path, wanted: Iterable[str]) -> DataError:
    """The error that lists every form in which the data set would have been recognised."""
    return DataError(f"{root}: no {name} here; looked for {', '.join(wanted)}")
