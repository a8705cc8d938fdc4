"""What the commands are given: data sets and targets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from hmdf.hw_targets.schema import Target
from hmdf.hw_targets.target import load_target, target_names
from hmdf.sim.encoder import normalise
from hmdf.sim.errors import InputError
from hmdf.sim.program import Preprocessing, Program
from hmdf.train.data import Dataset, load
from hmdf.train.data import Preprocessing as DataPreprocessing
from hmdf.train.data.picture_files import Pictures

FALLBACK = "generic"
"""What is shown for a program that was compiled for a target that is not shipped."""


def load_data(name: str, split: str, root: Path | None, samples: int | None) -> Dataset:
    """The first `samples` samples of a split (all for None); their order is part of the data set."""
    data = load(name, split, root)
    if samples is None or samples >= len(data):
        return data
    return dataclasses.replace(data, inputs=data.inputs[:samples], labels=data.labels[:samples])


def to_program(preprocessing: DataPreprocessing) -> Preprocessing:
    """The data set's preprocessing in the form that a Program stores."""
    return Preprocessing(preprocessing.divisor, preprocessing.mean, preprocessing.std)


def normalised(data: Dataset, preprocessing: Preprocessing) -> NDArray[np.float64]:
    """The inputs as a program takes them."""
    try:
        return normalise(data.inputs, preprocessing)
    except InputError as error:
        raise InputError(f"{data.name}: {error}") from None


def check_labels(data: Dataset | Pictures, classes: int) -> None:
    """Raise InputError unless every label, where there are any, names one of `classes` classes."""
    if data.labels is None:
        return
    outside = (data.labels < 0) | (data.labels >= classes)
    if outside.any():
        where = int(np.argmax(outside))
        raise InputError(
            f"{data.name}: label {int(data.labels[where])} of sample {where} is outside the {classes} classes of the "
            "program; use the data set that the model was trained for"
        )


def targets_of(names: str) -> list[Target]:
    """Targets by a comma-separated list of names and files; "all" are the shipped ones.

    Raises:
        TargetError: there is no such target.
    """
    wanted = target_names() if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise click.BadParameter("give names of targets, or all", param_hint="--target")
    return [load_target(name) for name in wanted]


def own_target(program: Program) -> str:
    """The target that a program was compiled for, if it is shipped."""
    compiled_for = program.metadata.target
    return compiled_for if compiled_for in target_names() else FALLBACK
