"""scikit-learn's 1,797 real handwritten digits, 8x8 pixels of 0..16: the data set that needs no download."""

import numpy as np

from hmdf.extras import require

from . import constants
from .dataset import Dataset, every_fifth


def load_digits(split: str) -> Dataset:
    """Split "train" (1,442), "test" (355: every fifth sample of each class, in file order) or "all"."""
    bunch = require("sklearn.datasets", "the digits data set").load_digits()
    labels = bunch.target.astype(np.int64)
    images = bunch.images.astype(np.uint8)[:, None]
    test = every_fifth(labels)
    chosen = {"train": ~test, "test": test, "all": np.ones_like(test)}[split]
    names = tuple(str(digit) for digit in range(10))
    return Dataset(images[chosen], labels[chosen], names, constants.DIGITS, "digits", split)
