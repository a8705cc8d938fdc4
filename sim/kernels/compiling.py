"""How the kernels are compiled, and how their machine code is kept on disk.

Only the entry is kept; it contains all it calls. Numba notices when the entry's own file changes, but not when
another one does, so what is kept is told apart by a digest of all sources.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from numba import njit

# All arrays come from outside: without reference counts, no call has to touch them.
_OPTIONS = {"nogil": True, "_nrt": False, "error_model": "numpy"}

kernel = njit(**_OPTIONS)
"""Compiles a function that kernels call."""


def compile_entry(function):
    """Compiles a function that Python calls, and keeps it on disk where there is a folder to write to."""
    try:
        return njit(function, cache=True, **_OPTIONS)
    except RuntimeError:  # No folder: compiled anew in every process.
        return njit(function, **_OPTIONS)


def digest_of_sources() -> int:
    """A number that changes with any file of the kernels."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")
