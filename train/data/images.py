"""Compressed images: decoding, mosaics of equal tiles, and arrays that are decoded only where they are indexed."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
# What LazyImages decodes at once; more at a time is a mistake of whoever wants the whole of ImageNet in memory.
MAX_DECODED_BYTES = 4 * 2**30


def decode(data: bytes | Path, where: str, mode: str = "RGB", resize: int | None = None) -> NDArray[np.uint8]:
    """One image file as (C, H, W), C = 3 for mode "RGB", 1 for "L".

    With ``resize`` the shorter side is first scaled to that many pixels (bilinear). Raises DataError naming ``where``.
    """
    image_module = _pillow()
    try:
        with image_module.open(io.BytesIO(data) if isinstance(data, bytes) else data) as opened:
            image = opened.convert(mode)
    except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
        raise DataError(f"{where}: not a readable image ({error})") from None
    if resize is not None:
        scale = resize / min(image.size)
        size = [max(resize, round(length * scale)) for length in image.size]
        image = image.resize(size, image_module.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


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
        """Decode by slice, integer or boolean array; a single integer gives one image (3, size, size)."""
        chosen = np.arange(len(self))[index]
        if chosen.ndim == 0:
            return self._one(self.paths[int(chosen)])
        if len(chosen) * 3 * self.size**2 > MAX_DECODED_BYTES:
            raise DataError(f"{len(chosen)} images of {self.size} pixels do not fit into memory; take fewer at a time")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            images = list(pool.map(self._one, [self.paths[i] for i in chosen]))
        return np.stack(images) if images else np.empty((0, *self.shape[1:]), np.uint8)

    def astype(self, dtype: DTypeLike) -> NDArray[Any]:
        """All images, decoded."""
        return self[:].astype(dtype)

    def _one(self, path: Path) -> NDArray[np.uint8]:
        pixels = decode(path, str(path), resize=self.resize)
        _, height, width = pixels.shape
        if self.resize is None and (height, width) != (self.size, self.size):
            raise DataError(f"{path}: {width} x {height} pixels, the data set has {self.size} x {self.size}")
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return pixels[:, top : top + self.size, left : left + self.size]


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise DataError("compressed images need Pillow: pip install pillow") from None
    return Image
