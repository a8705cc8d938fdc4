"""Compressed images: decoding, mosaics of equal tiles, and arrays that are decoded only where they are indexed."""

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

        Of JPEG files no more is decoded than the part needs; with ``flip`` half of them are mirrored.
        """
        chosen = [(self.paths[i], size, flip, [seed, number]) for number, i in enumerate(indices)]
        return np.stack(_at_once(lambda part: _part(*part), chosen)).transpose(0, 3, 1, 2)

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


def _at_once(
    work: Callable[[Any], NDArray[np.uint8]], items: Sequence[Any], threads: int | None = None
) -> list[NDArray[np.uint8]]:
    """In as many threads as there are processors; in one, in a process that is one of several."""
    if parent_process() is not None:
        return [*map(work, items)]
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        return [*pool.map(work, items)]


def _part(path: Path, size: int, flip: bool, seed: list[int]) -> NDArray[np.uint8]:
    """(size, size, 3)."""
    rng = np.random.default_rng(seed)
    image_module = _pillow()
    with open_image(path, str(path)) as image:
        before = image.size
        box = _part_of(before, rng)
        # a JPEG file is decoded at 1/2, 1/4 or 1/8 of its size where the part stays larger than what is wanted
        shrink = min(box[2] - box[0], box[3] - box[1]) / size
        if shrink >= 2:
            image.draft("RGB", tuple(int(length / shrink) for length in before))
        across, down = image.size[0] / before[0], image.size[1] / before[1]
        inside = box[0] * across, box[1] * down, box[2] * across, box[3] * down
        whole = image if image.mode == "RGB" else _converted(image, "RGB")
        part = whole.resize((size, size), image_module.Resampling.BILINEAR, inside)
    if flip and rng.random() < 0.5:
        part = part.transpose(image_module.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(part)


def _part_of(size: tuple[int, int], rng: np.random.Generator) -> tuple[float, float, float, float]:
    """(left, upper, right, lower); after ten draws that do not fit, the largest central one of a permitted shape."""
    width, height = size
    for _ in range(10):
        area, shape = width * height * rng.uniform(0.08, 1), math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    across, down = min(width, height * 4 / 3), min(height, width * 4 / 3)
    return (width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2


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
