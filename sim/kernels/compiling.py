"""How the kernels are compiled, and how their machine code is kept on disk.

Only the entry is kept; it contains all it calls. Numba notices when the entry's own file changes, but not when
another one does, so what is kept is told apart by a digest of all sources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import extending

# All arrays come from outside: without reference counts, no call has to touch them.
_OPTIONS: dict[str, Any] = {"nogil": True, "_nrt": False, "error_model": "numpy"}
_NO_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function that kernels call; Python cannot call it."""
    return numba.njit(function, **_OPTIONS, **_NO_WRAPPERS)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `kernel`, for what is called from one place: becomes part of its caller before anything is compiled."""
    return numba.njit(function, inline="always", **_OPTIONS)


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of kernels that is given as LLVM instructions; the first argument is the typing context."""
    return extending.intrinsic(function)


def compile_entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function that Python calls, and keeps it on disk where there is a folder to write to."""
    try:
        return numba.njit(function, cache=True, **_OPTIONS)
    except RuntimeError:  # No folder: compiled anew in every process.
        return numba.njit(function, **_OPTIONS)


def digest_of_sources() -> int:
    """A number that changes with any file of the kernels, in sub-folders too."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")
