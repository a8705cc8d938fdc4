"""Readers of event recordings: N-MNIST ``.bin``, AEDAT 2.0 (DVS128), AEDAT 4, Prophesee ``.dat``.

    events = read_events("cifar10_airplane_0.aedat")

The first three formats are arrays of fixed-size records behind a short header and are read here directly; AEDAT 4
(compressed packets) is read by the package ``aedat``.
"""

import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmdf.extras import require

from ..errors import DataError

DVS128 = 128
NMNIST = 34
# y of the records with which the N-MNIST format marks a wrap of its clock, and by how much to move on
NMNIST_WRAP_Y, NMNIST_WRAP_TICKS = 240, 2**13
MAX_BYTES = 2**30
LONGEST = 2**48
"""Microseconds of a recording, nine years: to_frames multiplies them by the number of frames."""


@dataclass(frozen=True, eq=False)
class Events:
    """One recording, in the order of time.

    Attributes:
        x, y: int64 (n,), pixels; the origin is the upper left corner of what ``read_events`` returns for the format.
        p: int64 (n,), 1 where the brightness rose, 0 where it fell.
        t: int64 (n,), microseconds, not decreasing.
        width, height: of the sensor, pixels.
        where: the file, for messages.

    Raises DataError for no events, arrays of unequal length, or a value outside the sensor.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    p: NDArray[np.int64]
    t: NDArray[np.int64]
    width: int
    height: int
    where: str

    def __post_init__(self) -> None:
        for name in "xypt":
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        if len({len(self.x), len(self.y), len(self.p), len(self.t)}) != 1:
            raise DataError(f"{self.where}: x, y, p and t have unequal lengths")
        if not len(self.t):
            raise DataError(f"{self.where}: the recording has no events")
        for name, limit in (("x", self.width), ("y", self.height), ("p", 2)):
            values = getattr(self, name)
            wrong = np.flatnonzero((values < 0) | (values >= limit))
            if len(wrong):
                first = int(wrong[0])
                raise DataError(f"{self.where}: event {first} has {name} = {values[first]}, outside 0..{limit - 1}")
        if int(self.t.max()) - int(self.t.min()) > LONGEST:
            raise DataError(
                f"{self.where}: damaged, its times span {int(self.t.max()) - int(self.t.min())} microseconds"
            )
        if (np.diff(self.t) < 0).any():
            order = np.argsort(self.t, kind="stable")
            for name in "xypt":
                object.__setattr__(self, name, getattr(self, name)[order])

    def __len__(self) -> int:
        return len(self.t)


def read_events(path: str | Path) -> Events:
    """Read a recording in the format that its name ends with; raises DataError naming the file and the reason."""
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: event recordings end with {', '.join(sorted(READERS))}")
    return reader(path)


def read_nmnist(path: Path) -> Events:
    """N-MNIST (Orchard 2015): 5 bytes an event: x, y, then 1 bit polarity and 23 bits of microseconds."""
    data = _records(_content(path), 5, path)
    stamp = data[:, 2:].astype(np.int64) @ np.array([2**16, 2**8, 1])
    wraps = data[:, 1] == NMNIST_WRAP_Y
    t = (stamp & 0x7FFFFF) + NMNIST_WRAP_TICKS * np.cumsum(wraps)
    x, y, p, t = (values[~wraps] for values in (data[:, 0], data[:, 1], stamp >> 23, t))
    return Events(x, y, p, t, NMNIST, NMNIST, str(path))


def read_aedat(path: Path) -> Events:
    """AEDAT 2.0 of a DVS128: text lines starting with '#', then big-endian 32-bit address and microseconds.

    Address bits: 0 polarity (0 = brighter), 1..7 x from the right, 8..14 y, 15 external events, which are left out.
    Given as jAER draws it, except that its y runs upwards and so does ours.
    """
    content = _content(path)
    if content.startswith(b"#!AER-DAT4"):
        return read_aedat4(path)
    if content.startswith(b"#!AER-DAT") and not content.startswith(b"#!AER-DAT2.0"):
        version = content[9:12].decode("ascii", "replace")
        raise DataError(f"{path}: version {version} of AEDAT; versions 2.0 and 4 are read")
    start = _after_lines(content, b"#")
    if start == 0:
        raise DataError(f"{path}: not an AEDAT 2.0 file (no '#' header)")
    words = _records(content[start:], 8, path).reshape(-1).view(">u4").reshape(-1, 2).astype(np.int64)
    address, t = words[words[:, 0] < 2**15].T
    return Events(127 - (address >> 1 & 0x7F), address >> 8 & 0x7F, 1 - (address & 1), t, DVS128, DVS128, str(path))


def read_aedat4(path: Path) -> Events:
    """AEDAT 4 (DV): the packets of its first event stream.

    The decoder aborts the process that it runs in on some damaged files, so it has one of its own.
    """
    require("aedat", f"{path}: AEDAT 4")
    done = subprocess.run([sys.executable, "-c", DECODE, path], capture_output=True, check=False)
    if done.returncode:
        raise DataError(f"{path}: {_reason(done.stderr.decode(errors='replace'))}")
    stream = io.BytesIO(done.stdout)
    size, events = np.load(stream), np.load(stream)
    return Events(events["x"], events["y"], events["on"], events["t"], int(size[0]), int(size[1]), str(path))


DECODE = """
import sys, aedat, numpy
decoder = aedat.Decoder(sys.argv[1])
streams = [(key, stream) for key, stream in decoder.id_to_stream().items() if stream["type"] == "events"]
if not streams: sys.exit("has no event stream")
number, stream = streams[0]
packets = [packet["events"] for packet in decoder if packet["stream_id"] == number]
if not packets: sys.exit("the recording has no events")
numpy.save(sys.stdout.buffer, numpy.array([stream["width"], stream["height"]], numpy.int64))
numpy.save(sys.stdout.buffer, numpy.concatenate(packets))
"""


def _reason(said: str) -> str:
    """What stopped the decoder: our own word, or the last line of its traceback."""
    lines = said.strip().splitlines()
    if len(lines) == 1 and lines[0] in DECODE:
        return lines[0]
    return f"truncated or damaged ({lines[-1] if lines else 'the decoder crashed'})"


def read_dat(path: Path) -> Events:
    """Prophesee .dat, CD events: lines starting with '%', two bytes (type, size 8), then little-endian 32-bit words.

    The words are microseconds and x (14 bits), y (14 bits), polarity (1 bit). Without width and height in the header
    the sensor is taken to be as large as the events reach.
    """
    content = _content(path)
    start = _after_lines(content, b"%")
    if start == 0 or len(content) < start + 2 or content[start + 1] != 8:
        raise DataError(f"{path}: not a .dat file of 8-byte events")
    words = _records(content[start + 2 :], 8, path).reshape(-1).view("<u4").reshape(-1, 2).astype(np.int64)
    if not len(words):
        raise DataError(f"{path}: the recording has no events")
    t, data = words.T
    x, y = data & 0x3FFF, data >> 14 & 0x3FFF
    header = _dat_header(content[:start])
    width, height = header.get("width", int(x.max()) + 1), header.get("height", int(y.max()) + 1)
    return Events(x, y, data >> 28 & 1, t, width, height, str(path))


READERS: dict[str, Callable[[Path], Events]] = {
    ".bin": read_nmnist,
    ".aedat": read_aedat,
    ".aedat4": read_aedat4,
    ".dat": read_dat,
}


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: longer than {MAX_BYTES} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if not content:
        raise DataError(f"{path}: empty file")
    return content


def _records(data: bytes, size: int, path: Path) -> NDArray[np.uint8]:
    if len(data) % size:
        raise DataError(f"{path}: {len(data)} bytes of events are no multiple of {size}: truncated or not this format")
    return np.frombuffer(data, np.uint8).reshape(-1, size)


def _after_lines(content: bytes, mark: bytes) -> int:
    """Where the leading lines that start with ``mark`` end."""
    position = 0
    while content[position : position + 1] == mark:
        end = content.find(b"\n", position)
        if end < 0:
            return len(content)
        position = end + 1
    return position


def _dat_header(header: bytes) -> dict[str, int]:
    """width and height where a line says so, as in ``% Width 304``."""
    sizes = re.findall(rb"^% (width|height) (\d{1,5})\s*$", header.lower(), re.MULTILINE)
    return {name.decode(): int(value) for name, value in sizes}
