"""Compressed images: decoding, mosaics of equal tiles, and arrays that are decoded only where they are indexed."""

import ctypes
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hmdf.extras import require

from ..errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
# Pillow's name for images of that many channels.
MODES = {1: "L", 3: "RGB"}
# JPEG files whose rows are coded one after the other: baseline, extended, progressive.
JPEG_FRAMES = (0xC0, 0xC1, 0xC2)
# Rows below a part that the decoder's interpolation of colours looks at.
BELOW = 4
# Parts of an image that are tried until one fits.
TRIES = 10
# What LazyImages decodes at once; more at a time is a mistake of whoever wants the whole of ImageNet in memory.
MAX_DECODED_BYTES = 4 * 2**30


def decode(data: bytes | Path, where: str, mode: str = "RGB", resize: int | None = None) -> NDArray[np.uint8]:
    """One image file as (C, H, W), C = 3 for mode "RGB", 1 for "L".

    With ``resize`` the shorter side is first scaled to that many pixels (bilinear). Raises DataError naming ``where``.
    """
    with open_image(data, where) as opened:
        image = _converted(opened, mode)
    if resize is not None:
        scale = resize / min(image.size)
        size = [max(resize, round(length * scale)) for length in image.size]
        image = image.resize(size, _pillow().Resampling.BILINEAR)
    return _channels_first(image)


def decode_fitted(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """One image file as (C, H, W), C = 1 (grey) or 3, whatever its size and colours.

    It is turned upright as its EXIF data say; one of another size is scaled (bilinear) until it covers H x W, and its
    centre is taken. Raises DataError naming the file.
    """
    from PIL import ImageOps

    channels, height, width = shape
    with open_image(path, str(path)) as opened:
        image = _converted(ImageOps.exif_transpose(opened), MODES[channels])
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), _pillow().Resampling.BILINEAR)
    return _channels_first(image)


@contextmanager
def open_image(data: bytes | Path, where: str) -> Iterator[Any]:
    """A Pillow image of which the header has been read; what fails within the block is a DataError naming ``where``."""
    image_module = _pillow()
    try:
        with image_module.open(io.BytesIO(data) if isinstance(data, bytes) else data) as opened:
            yield opened
    except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: not a readable image ({error})") from None


def decode_mosaics(sheets: Sequence[NDArray[np.uint8]], tile: tuple[int, int], where: str) -> NDArray[np.uint8]:
    """Image files that hold equal tiles row by row: (sheets x tiles, 3, size, size).

    Args:
        sheets: the bytes of each file.
        tile: (size in pixels, tiles per row).
    """
    size, columns = tile
    tiles = []
    for index, sheet in enumerate(sheets):
        pixels = decode(sheet.tobytes(), f"{where}[{index}]")
        _, height, width = pixels.shape
        if width != size * columns or height % size:
            raise DataError(f"{where}[{index}]: {width} x {height} pixels are not rows of {columns} tiles of {size}")
        grid = pixels.reshape(3, height // size, size, columns, size).transpose(1, 3, 0, 2, 4)
        tiles.append(grid.reshape(-1, 3, size, size))
    return np.concatenate(tiles)


class LazyImages:
    """Image files that look like a uint8 array (N, 3, size, size); each index decodes what it asks for.

    Args:
        paths: one file per image.
        size: height and width of every image.
        resize: None: each file must have that size. Else the shorter side is scaled to ``resize`` pixels and the
            central square of ``size`` cut out.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4
    threads = os.cpu_count()

    def __init__(self, paths: Sequence[Path], size: int, resize: int | None = None) -> None:
        self.paths = list(paths)
        self.size = size
        self.resize = resize

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.paths), 3, self.size, self.size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        """Decode by slice, integer or boolean array; a single integer returns one image (3, size, size)."""
        chosen = np.arange(len(self))[index]
        if chosen.ndim == 0:
            return self._one(self.paths[int(chosen)])
        if len(chosen) * math.prod(self.shape[1:]) > MAX_DECODED_BYTES:
            what = f"{len(chosen)} images of {self.shape[-1]} pixels"
            raise DataError(f"{what} do not fit into memory; take fewer at a time")
        images = _at_once(self._one, [self.paths[i] for i in chosen], self.threads)
        return np.stack(images) if images else np.empty((0, *self.shape[1:]), np.uint8)

    def parts(self, indices: NDArray[np.int64], size: int, flip: bool, seed: int) -> NDArray[np.uint8]:
        """A random part of each image, (N, 3, size, size): 8 to 100 % of its area, 3/4 to 4/3 as wide as high.

        Of JPEG files no more is decoded than the part needs; with ``flip`` half of them are mirrored. Scaled as by
        `scaling.scale`.
        """
        drawn = np.random.default_rng(seed).random((len(indices), 4 * TRIES + 1)).tolist()
        parts = np.empty((len(indices), 3, size, size), np.uint8)
        _at_once(lambda n: _draw_part(self.paths[indices[n]], drawn[n], flip, parts[n]), range(len(indices)))
        return parts

    def astype(self, dtype: DTypeLike) -> NDArray[Any]:
        """All images, decoded."""
        return self[:].astype(dtype)

    def part(self, start: int, stop: int) -> Self:
        """Images start..stop under their absolute paths, to be decoded one after the other: by another process."""
        result = copy(self)
        result.paths, result.threads = [path.absolute() for path in self.paths[start:stop]], 1
        return result

    def _one(self, path: Path) -> NDArray[np.uint8]:
        pixels = decode(path, str(path), resize=self.resize)
        _, height, width = pixels.shape
        if self.resize is None and (height, width) != (self.size, self.size):
            raise DataError(f"{path}: {width} x {height} pixels, the data set has {self.size} x {self.size}")
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return pixels[:, top : top + self.size, left : left + self.size]


def _at_once(work: Callable[[Any], Any], items: Sequence[Any], threads: int | None = None) -> list[Any]:
    """In as many threads as there are processors; in one, in a process that is one of several."""
    if parent_process() is not None:
        return [*map(work, items)]
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        return [*pool.map(work, items)]


def _draw_part(path: Path, drawn: Sequence[float], flip: bool, part: NDArray[np.uint8]) -> None:
    """Fill ``part`` (3, size, size) with the part of an image that follows from numbers in [0, 1).

    A JPEG file is decoded down to the part's last row, and at 1/2, 1/4 or 1/8 of its size where the part stays as large
    as what is wanted.
    """
    content, size, mirrored = path.read_bytes(), part.shape[-1], flip and drawn[-1] < 0.5
    found = jpeg_size(content)
    if found is None:
        with open_image(content, str(path)) as image:
            _scale(image, _part_of(image.size, drawn), mirrored, part)
        return
    at, width, height = found
    left, upper, right, lower = _part_of((width, height), drawn)
    shrink = max(s for s in (1, 2, 4, 8) if s == 1 or s * size <= min(right - left, lower - upper))
    needed = min(height, lower + BELOW * shrink)
    with open_image(content[:at] + needed.to_bytes(2, "big") + content[at + 2 :], str(path)) as image:
        image.draft("RGB", (max(1, width // shrink), max(1, needed // shrink)))
        _scale(image, (left // shrink, upper // shrink, -(-right // shrink), -(-lower // shrink)), mirrored, part)


def jpeg_size(content: bytes) -> tuple[int, int, int] | None:
    """Where a JPEG file says how high it is, its width and its height; None for other files and rare kinds."""
    at = 2
    while content[:2] == b"\xff\xd8" and content[at : at + 1] == b"\xff" and len(content) >= at + 9:
        if content[at + 1] in JPEG_FRAMES:
            height, width = (int.from_bytes(content[i : i + 2], "big") for i in (at + 5, at + 7))
            return (at + 5, width, height) if width and height else None
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


def _part_of(size: tuple[int, int], drawn: Sequence[float]) -> tuple[int, int, int, int]:
    """(left, upper, right, lower); after ten tries that do not fit, the largest central one of a permitted shape."""
    width, height = size
    for i in range(0, 4 * TRIES, 4):
        area = width * height * (0.08 + 0.92 * drawn[i])
        shape = math.exp(math.log(4 / 3) * (2 * drawn[i + 1] - 1))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(drawn[i + 2] * (width - w + 1)), int(drawn[i + 3] * (height - h + 1))
            return left, top, left + w, top + h
    across, down = min(width, max(1, height * 4 // 3)), min(height, max(1, width * 4 // 3))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def _scale(image: Any, box: tuple[int, int, int, int], mirrored: bool, part: NDArray[np.uint8]) -> None:
    """Fill ``part`` with a box of an image."""
    from .scaling import scale

    left, upper, right, lower = box
    image.load()
    rows, owner = _memory(image) if image.mode == "RGB" else (None, None)
    if rows is None:
        rows = np.asarray(_converted(image, "RGB").convert("RGBX")).reshape(image.size[1], -1)
    scale(rows[upper:lower], left, right - left, mirrored, part)
    del owner  # until here it holds the memory


def _memory(image: Any) -> tuple[NDArray[np.uint8] | None, object]:
    """The pixels of an RGB image where Pillow has them, (height, 4 x width), and their owner; None where it does not
    show them: an old one, and images of more than 16 MB.
    """
    try:
        _, owner = image.__arrow_c_array__()
    except (AttributeError, ValueError):
        return None, None
    array = _ArrowArray.from_address(_address_of(owner, b"arrow_array"))
    width, height = image.size
    values = (ctypes.c_uint8 * (4 * width * height)).from_address(array.children[0].contents.buffers[1])
    return np.frombuffer(values, np.uint8).reshape(height, -1), owner


class _ArrowArray(ctypes.Structure):
    """Of Arrow's C data interface."""


_ArrowArray._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "nulls", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
]
_address_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class FittedImages(LazyImages):
    """Image files of any size and colours that look like a uint8 array (N, C, H, W); see `decode_fitted`."""

    def __init__(self, paths: Sequence[Path], shape: tuple[int, int, int]) -> None:
        super().__init__(paths, shape[-1])
        self.image_shape = shape

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.paths), *self.image_shape

    def _one(self, path: Path) -> NDArray[np.uint8]:
        return decode_fitted(path, self.image_shape)


def _converted(image: Any, mode: str) -> Any:
    """In 8 bits per channel; Pillow itself would cut 16-bit greys off at 255."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _pillow().fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert(mode)


def _channels_first(image: Any) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _pillow() -> Any:
    return require("PIL.Image", "a compressed image")
