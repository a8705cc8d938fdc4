"""The real data sets, for tests that need them and skip where they are absent."""

import os

import pytest

from hmdf.train.data import Dataset, load
from hmdf.train.errors import DataError


def published(name: str, split: str) -> Dataset:
    """A data set below HMDF_DATA. Skips the test where it is not there; DataError where it is, but cannot be read."""
    if "HMDF_DATA" not in os.environ:
        pytest.skip("HMDF_DATA is not set")
    try:
        return load(name, split)
    except DataError as error:
        if "here; looked for" not in str(error):
            raise
        pytest.skip(str(error))
