"""The arrays of an npz file, each checked against its header before anything is allocated."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

# An array larger than this does not fit the memory of the machines this is meant for; larger data come as folders.
MAX_ARRAY_BYTES = 16 * 2**30


class NpzArrays:
    """Reads one array after the other; raises DataError naming the file, the key and the reason.

    Attributes:
        path: the file.
        keys: the names of its arrays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self.keys = [name.removesuffix(".npy") for name in archive.namelist()]
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not a readable .npz file ({error})") from None

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def read(self, key: str) -> NDArray[Any]:
        """One array; no Python objects are unpickled."""
        if key not in self.keys:
            raise DataError(f"{self.path}: has no array {key!r} (found {', '.join(self.keys) or 'nothing'})")
        try:
            with zipfile.ZipFile(self.path) as archive:
                self._check_header(archive, key)
                with archive.open(f"{key}.npy") as stream:
                    return np.lib.format.read_array(stream, allow_pickle=False)
        except DataError:
            raise
        except Exception as error:  # NumPy and zipfile raise many kinds for a damaged file
            raise DataError(f"{self.path}: {key} cannot be read ({error})") from None

    def pieces(self, data_key: str, offsets_key: str) -> list[NDArray[Any]]:
        """``data[offsets[i]:offsets[i + 1]]`` for every i: several files or recordings in one array."""
        data, offsets = self.read(data_key), self.read(offsets_key)
        ends = offsets.astype(np.int64) if offsets.dtype.kind in "iu" and offsets.ndim == 1 else np.empty(0, np.int64)
        if len(ends) < 2 or ends[0] != 0 or ends[-1] != len(data) or (np.diff(ends) < 0).any():
            raise DataError(
                f"{self.path}: {offsets_key} must be integers rising from 0 to the length of {data_key}, {len(data)}"
            )
        return np.split(data, ends[1:-1])

    def labels(self, key: str) -> NDArray[np.int64]:
        """Labels (N,) of any integer type, as int64."""
        labels = self.read(key)
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise DataError(f"{self.path}: {key} must be integers of shape (N,) (got {labels.dtype} {labels.shape})")
        return labels.astype(np.int64)

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.read(key)
        if values.dtype.kind != "U" or values.ndim != 1:
            raise DataError(f"{self.path}: {key} must be a list of strings (got {values.dtype} {values.shape})")
        try:
            names = tuple(str(value) for value in values)
            "".join(names).encode()
        except (SystemError, UnicodeEncodeError):
            raise DataError(f"{self.path}: {key} holds what is no text") from None
        return names

    def _check_header(self, archive: zipfile.ZipFile, key: str) -> None:
        """The data must be as long as the header says, and no longer than memory allows."""
        with archive.open(f"{key}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(stream)
            header_bytes = stream.tell()
        if dtype.hasobject:
            raise DataError(f"{self.path}: {key} holds Python objects (dtype {dtype}); save plain arrays instead")
        needed = dtype.itemsize
        for size in shape:
            needed *= size
        if needed > MAX_ARRAY_BYTES:
            raise DataError(f"{self.path}: {key} of shape {shape} needs {needed} bytes (at most {MAX_ARRAY_BYTES})")
        stored = archive.getinfo(f"{key}.npy").file_size - header_bytes
        if needed != stored:
            raise DataError(f"{self.path}: {key} of shape {shape} needs {needed} bytes but the file holds {stored}")
