"""Images of one's own as the data of hmdf-sim: a folder or a single file, and what the program says of each."""

from __future__ import annotations

from pathlib import Path

from hmdf.sim.errors import InputError
from hmdf.sim.program import Program
from hmdf.train.data import Dataset
from hmdf.train.data.folds import split_fold
from hmdf.train.data.picture_files import Pictures, is_picture, load_pictures
from hmdf.train.data.registry import is_named

from ..console import progress
from ..documents.run import PredictionRow
from ..inputs import load_data
from .blocks import Totals


def load_samples(
    program: Program, name: str, split: str | None, root: Path | None, samples: int | None
) -> Dataset | Pictures:
    """The samples that a program is to run: of a data set, or images that are made to fit the program.

    Args:
        split: None: the test split; of a folder of images that the program was not trained on, all of them.

    Raises:
        DataError, InputError: naming the data, file or folder, and what is wrong.
    """
    path = Path(name)
    if is_named(name) or not (path.is_dir() or is_picture(path)):
        return load_data(name, split or "test", root, samples)
    if program.input.timing == "frames":
        raise InputError(f"{name}: the program takes frames of events, one per time-step; images are none")
    if split is None and split_fold(program.metadata.data_set)[0] == path.resolve().name:
        split = "test"
    with progress("reading images") as advance:
        return load_pictures(path, program.input.shape, program.metadata.class_names, split, samples, advance)


def predictions(program: Program, data: Pictures, totals: Totals) -> list[PredictionRow]:
    """What the program says of each image."""
    names = program.metadata.class_names or tuple(str(number) for number in range(program.classes))
    scale = program.readout.scale
    return [
        PredictionRow(
            file=str(file),
            label=None if data.labels is None else int(data.labels[index]),
            predicted=int(totals.predictions[index]),
            class_name=names[totals.predictions[index]],
            score=float(best * scale),
            margin=float(best * scale - second * scale),
        )
        for index, (file, (best, second)) in enumerate(zip(data.files, totals.largest.T, strict=True))
    ]
