"""Errors of training. Each message is one line: what is wrong, where, and what to do.

``exit_code`` is what a command line ends with.
"""


class DataError(ValueError):
    """A data set cannot be read or holds invalid values."""

    exit_code = 3


class ModelError(ValueError):
    """A checkpoint or a network description is invalid."""

    exit_code = 3


class TrainingError(RuntimeError):
    """Training cannot go on, for example because the loss is no longer finite."""

    exit_code = 1
