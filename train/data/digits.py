"""scikit-learn's 1,797 real handwritten digits, 8x8 pixels of 0..16: the data set that needs no download."""

import numpy as np

from ..errors import DataError
from . import constants
from .dataset import Dataset, every_fifth


def load_digits(split: str) -> Dataset:
    """Split "train" (1,442), "test" (355: every fifth sample of each class, in file order) or "all"."""
    try:
        from sklearn.datasets import load_digits as sklearn_digits
    except ImportError:
        raise DataError("the digits data set needs scikit-learn: pip install scikit-learn") from None
    bunch = sklearn_digits()
    labels = bunch.target.astype(np.int64)
    images = bunch.images.astype(np.uint8)[:, None]
    test = every_fifth(labels)
    chosen = {"train": ~test, "test": test, "all": np.ones_like(test)}[split]
    names = tuple(str(digit) for digit in range(10))
    return Dataset(images[chosen], labels[chosen], names, constants.DIGITS, "digits", split)
