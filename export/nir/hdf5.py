"""What a process of its own does for `read_file`: the arrays of an HDF5 file, on standard output as an .npz.

The HDF5 library crashes, or does not come back, on some damaged files. Nothing of hmdf is imported here.
"""

import sys
from typing import Any

import h5py
import numpy as np

MOST_BYTES = 4 << 30
"""Of all arrays of a file, unpacked."""
MOST_OBJECTS = 100_000
DEEPEST = 64
"""Groups within groups of a file: four for every graph within a graph."""


def arrays(file: Any) -> dict[str, Any]:
    """Every array by its path in the file, text as bytes, after its size is known; "PATH/" stands for a group."""
    waiting, size, found = [(file, 0)], 0, {}
    while waiting:
        group, depth = waiting.pop()
        found[f"{group.name.strip('/')}/"] = np.zeros(0)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                sys.exit(f"'{group.name}/{name}' is a link, which a NIR file has no need of")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                waiting.append((entry, depth + 1))
                continue
            if entry.is_virtual or entry.external:
                sys.exit(f"the data of '{entry.name}' are not in it")
            size += entry.nbytes
            found[entry.name.strip("/")] = entry
            if size > MOST_BYTES:
                sys.exit(f"has over {MOST_BYTES >> 30} GiB of arrays")
        if len(found) > MOST_OBJECTS or depth > DEEPEST:
            sys.exit("has too many groups")
    return {name: _plain(name, entry) for name, entry in found.items()}


def _plain(name: str, entry: Any) -> Any:
    if not isinstance(entry, h5py.Dataset):
        return entry
    value = np.asarray(entry[()])
    if value.dtype.kind == "O" and all(isinstance(item, bytes) for item in value.flat):
        value = value.astype(np.bytes_)
    if value.dtype.kind not in "biufS":
        sys.exit(f"'{name}' holds neither numbers nor text")
    return value


if __name__ == "__main__":
    try:
        with h5py.File(sys.argv[1], "r") as opened:
            read = arrays(opened)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, UnicodeError) as error:
        sys.exit(f"truncated or damaged ({error})")
    for key, array in read.items():  # np.savez would take a name such as "file" for its own
        sys.stdout.buffer.write(ascii((key, array.dtype.str, array.shape)).encode() + b"\n" + array.tobytes())
