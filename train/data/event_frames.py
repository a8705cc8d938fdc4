"""Event recordings as frames: how many events of each polarity fell on each pixel in each of T bins."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .event_readers import Events

MAX_BINS = 1024
MAX_SIZE = 1024


@dataclass(frozen=True)
class Framing:
    """How a recording becomes frames; written as BINS[:time|count[:SIZE]], for example "10:count:48".

    Attributes:
        bins: T.
        by: "time": T spans of equal length from the first event to the last. "count": T runs of equally many events.
        size: height and width of the frames, at most the sensor's; pixels of the sensor are pooled.
    """

    bins: int
    by: Literal["time", "count"] = "time"
    size: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bins <= MAX_BINS:
            raise DataError(f"frames per recording must be 1..{MAX_BINS} (got {self.bins})")
        if self.by not in ("time", "count"):
            raise DataError(f"recordings are cut by 'time' or 'count' (got {self.by!r})")
        if self.size is not None and not 1 <= self.size <= MAX_SIZE:
            raise DataError(f"the frame size must be 1..{MAX_SIZE} pixels (got {self.size})")

    def __str__(self) -> str:
        return f"{self.bins}:{self.by}" + ("" if self.size is None else f":{self.size}")

    def with_text(self, text: str) -> "Framing":
        """This framing with the parts that ``text`` names changed; raises DataError for anything else."""
        words = text.split(":") if text else []
        try:
            bins = int(words[0]) if words else self.bins
            size = int(words[2]) if len(words) == 3 else self.size
        except ValueError:
            words = ["?"] * 4
        if len(words) > 3:
            raise DataError(f"frames are chosen as BINS[:time|count[:SIZE]], for example 10:count:48 (got {text!r})")
        return Framing(bins, words[1] if len(words) > 1 else self.by, size)  # type: ignore[arg-type]


def to_frames(events: Events, framing: Framing) -> NDArray[np.uint8]:
    """(T, 2, H, W): channel 0 counts the events with p = 0, channel 1 those with p = 1; counts end at 255."""
    bins = framing.bins
    if framing.by == "time":
        elapsed = events.t - events.t[0]
        bin_of = elapsed * bins // (int(elapsed[-1]) + 1)
    else:
        bin_of = np.arange(len(events)) * bins // len(events)
    size = framing.size
    width, height = (events.width, events.height) if size is None else (size, size)
    if width > events.width or height > events.height:
        raise DataError(f"{events.where}: frames of {size} pixels from a sensor of {events.width} x {events.height}")
    x, y = events.x * width // events.width, events.y * height // events.height
    counts = np.bincount(
        ((bin_of * 2 + events.p) * height + y) * width + x, minlength=bins * 2 * height * width
    ).reshape(bins, 2, height, width)
    return np.minimum(counts, 255).astype(np.uint8)
