"""Errors of the training room. Each message is one line: what is wrong, where, and what to do."""


class DataError(ValueError):
    """A data set cannot be read or holds invalid values."""


class ModelError(ValueError):
    """A checkpoint or a network description is invalid."""


class TrainingError(RuntimeError):
    """Training cannot go on, for example because the loss is no longer finite."""
