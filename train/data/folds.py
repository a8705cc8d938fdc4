"""Cross-validation: both splits of a data set pooled and divided anew, as its name says: "digits@2/5".

Of N folds, fold K is the test split and all others are the training split. The fold is a part of the data set's name,
so that whoever reads the name out of a checkpoint or a Program gets the same samples.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import DataError
from .dataset import Dataset
from .npz_sets import statistics


@dataclass(frozen=True)
class Fold:
    """Number K of N folds, written "K/N"; raises DataError unless 1 <= K <= N and 2 <= N."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if self.count < 2 or not 1 <= self.number <= self.count:
            raise DataError(f"a fold is K/N with K in 1..N and N at least 2, for example 2/5 (got {self})")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def from_text(cls, text: str) -> "Fold":
        """The inverse of str; raises DataError."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        if found is None:
            raise DataError(f"a fold is K/N, for example 2/5 (got {text!r})")
        return cls(int(found[1]), int(found[2]))


def split_fold(name: str) -> tuple[str, Fold | None]:
    """("digits", Fold 2/5) for "digits@2/5"; a name without a fold, or of an existing file, is given back as it is."""
    found = re.fullmatch(r"(.+)@(\d{1,9}/\d{1,9})", name, re.ASCII | re.DOTALL)
    if found is None or Path(name).exists():
        return name, None
    return found[1], Fold.from_text(found[2])


def with_fold(name: str, fold: Fold | None) -> str:
    """The inverse of split_fold."""
    return name if fold is None else f"{name}@{fold}"


def short_name(name: str) -> str:
    """The name of a data set without the folders of a path."""
    base, fold = split_fold(name)
    return with_fold(Path(base).name, fold)


def take_fold(pool: Dataset, fold: Fold, split: str, own_statistics: bool) -> Dataset:
    """The split "train", "test" or "all" of a fold of all samples.

    With ``own_statistics`` the samples are normalised by those of the fold's training split. Inputs that are not in
    memory stay where they are. Raises DataError for a class that has fewer samples than there are folds.
    """
    test = fold_of_each(pool, fold.count) == fold.number
    if own_statistics:
        pool = replace(pool, preprocessing=statistics(pool.inputs[~test]))
    chosen = np.flatnonzero({"train": ~test, "test": test, "all": np.ones_like(test)}[split])
    in_memory = isinstance(pool.inputs, np.ndarray) and not isinstance(pool.inputs, np.memmap)
    inputs = pool.inputs[chosen] if in_memory else ChosenInputs(pool.inputs, chosen)
    return replace(pool, inputs=inputs, labels=pool.labels[chosen], name=with_fold(pool.name, fold), split=split)


def fold_of_each(data: Dataset, count: int) -> NDArray[np.int64]:
    """The fold 1..count of every sample: dealt out in turn, class after class and within a class in the data's order.

    Folds thus differ by at most one sample in size, and by at most one in each class.
    """
    samples = np.bincount(data.labels)
    scarce = np.flatnonzero((samples > 0) & (samples < count))
    if len(scarce):
        name, number = data.class_names[scarce[0]], samples[scarce[0]]
        raise DataError(f"{data.name}: {count} folds of class {name}, which has {number} samples; take fewer folds")
    folds = np.empty(len(data), np.int64)
    folds[np.argsort(data.labels, kind="stable")] = np.arange(len(data)) % count + 1
    return folds


class ChosenInputs:
    """Some of the inputs of a data set, which are read only where they are indexed."""

    def __init__(self, inputs: Any, chosen: NDArray[np.int64]) -> None:
        self.inputs = inputs
        self.chosen = chosen
        self.dtype = inputs.dtype
        self.ndim = inputs.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.chosen), *self.inputs.shape[1:]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read by slice, integer or boolean array; a single integer returns one sample."""
        return np.asarray(self.inputs[self.chosen[index]])

    def astype(self, dtype: DTypeLike) -> NDArray[Any]:
        """All of them."""
        return self[:].astype(dtype)
