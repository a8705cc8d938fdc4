"""What a data set is: raw inputs, labels, class names and the preprocessing that a trained model expects."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError


@dataclass(frozen=True)
class Preprocessing:
    """``x = (raw / divisor - mean) / std``, with one mean and std per channel or one for all.

    Raises DataError for values that are not finite, or a divisor or std that is not positive.
    """

    divisor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "divisor", float(self.divisor))
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if len(self.mean) != len(self.std) or not self.mean:
            raise DataError(f"preprocessing needs as many means as stds (got {len(self.mean)} and {len(self.std)})")
        if not all(math.isfinite(value) for value in (self.divisor, *self.mean, *self.std)):
            raise DataError(f"preprocessing constants must be finite (got {self})")
        if min(self.divisor, *self.std) <= 0:
            raise DataError(f"preprocessing divisor and std must be positive (got {self})")

    def to_dict(self) -> dict[str, Any]:
        """Plain containers only."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of to_dict; raises DataError when keys or types are wrong."""
        try:
            return cls(**values)
        except TypeError as error:
            raise DataError(f"preprocessing needs divisor, mean and std ({error})") from None


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set.

    Attributes:
        inputs: raw values, uint8 or float32, images (N, C, H, W) or frames (N, T, C, H, W): an array, or what has an
            array's shape and dtype and returns one when it is indexed (LazyImages).
        labels: int64 (N,), each in 0..len(class_names)-1.
        class_names: one per class.
        preprocessing: how a model trained on it normalises ``inputs``.
        name, split: where it came from.

    Raises DataError naming the array, index and value that is invalid.
    """

    inputs: Any
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    name: str
    split: str

    def __post_init__(self) -> None:
        check_inputs(self.inputs, f"{self.name} {self.split} inputs")
        check_labels(self.labels, len(self.class_names), f"{self.name} {self.split} labels")
        check_lengths(self.inputs, self.labels, f"{self.name} {self.split}: inputs", "labels")
        if len(self.preprocessing.mean) not in (1, self.input_shape[0]):
            raise DataError(
                f"{self.name}: preprocessing has {len(self.preprocessing.mean)} channels, "
                f"the inputs have {self.input_shape[0]}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one time-step."""
        channels, height, width = self.inputs.shape[-3:]
        return channels, height, width

    @property
    def frames(self) -> int | None:
        """T of an event data set; None for images."""
        return self.inputs.shape[1] if self.inputs.ndim == 5 else None


MANY = 1 << 14
"""Values for which looking them up is faster than computing them."""


def normalise(inputs: NDArray[Any], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """``((raw.astype(float64) / divisor) - mean) / std`` in float64, then cast to float32.

    ``inputs`` is (..., C, H, W); mean and std apply per channel.
    """
    mean = np.asarray(preprocessing.mean, dtype=np.float64)[:, None, None]
    std = np.asarray(preprocessing.std, dtype=np.float64)[:, None, None]
    if inputs.dtype == np.uint8 and inputs.size > MANY:  # the same values, of which there are 256 a channel
        table = (((np.arange(256.0) / preprocessing.divisor) - mean[..., 0]) / std[..., 0]).astype(np.float32)
        result = np.empty(inputs.shape, np.float32)
        for channel in range(inputs.shape[-3]):
            result[..., channel, :, :] = table[channel % len(table)][inputs[..., channel, :, :]]
        return result
    return (((inputs.astype(np.float64) / preprocessing.divisor) - mean) / std).astype(np.float32)


def every_fifth(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """A fixed stratified choice of a fifth of the samples: in each class, in file order, the 5th, 10th, 15th ..."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[4::5]] = True
    return chosen


def check_inputs(inputs: Any, where: str) -> None:
    """Raise DataError unless ``inputs`` is uint8 or finite float32 of 4 or 5 dimensions without an empty one."""
    if inputs.dtype not in (np.uint8, np.float32):
        raise DataError(f"{where}: dtype must be uint8 or float32 (got {inputs.dtype})")
    if inputs.ndim not in (4, 5) or 0 in inputs.shape:
        raise DataError(f"{where}: shape must be (N, C, H, W) or (N, T, C, H, W), none empty (got {inputs.shape})")
    if inputs.dtype == np.float32 and not np.isfinite(inputs).all():
        index = tuple(int(axis[0]) for axis in np.nonzero(~np.isfinite(inputs)))
        raise DataError(f"{where}{list(index)} = {inputs[index]}: values must be finite")


def check_labels(labels: NDArray[Any], classes: int, where: str) -> None:
    """Raise DataError unless ``labels`` is int64 (N,) within 0..classes-1."""
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise DataError(f"{where}: must be int64 of shape (N,) (got {labels.dtype} of shape {labels.shape})")
    invalid = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(invalid):
        index = int(invalid[0])
        raise DataError(f"{where}[{index}] = {labels[index]} is out of range: the classes are 0..{classes - 1}")


def check_lengths(inputs: Any, labels: NDArray[Any], inputs_name: str, labels_name: str) -> None:
    """Raise DataError unless there is one label per input."""
    if len(inputs) != len(labels):
        raise DataError(f"{inputs_name} has {len(inputs)} samples but {labels_name} has {len(labels)}")
