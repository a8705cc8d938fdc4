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


# Words of torch's RuntimeErrors, in small letters; CUDA's want of memory comes before its other errors.
_LOST = {
    "out of memory": ("out of memory", "t allocate memory", "cannot allocate memory"),
    "the GPU failed": ("cuda error", "cudnn_status_", "cublas_status_"),
    "another process of the run ended": ("gloo/", "nccl"),
}


def lost(error: BaseException) -> str | None:
    """What a run has lost, where the error says so: memory, the GPU, another process. No fault of the program's."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, RuntimeError) and not isinstance(error, TrainingError):
        said = str(error).partition("\n")[0]
        for reason, words in _LOST.items():
            if any(word in said.lower() for word in words):
                return reason if reason == "out of memory" else f"{reason} ({said})"
    return None
