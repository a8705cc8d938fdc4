"""The instruction sets that convolutions are written for, a file each, and which one this process uses.

What all of them are and share is in path.py, loops.py and event_loops.py; each emits its processor's own instructions,
through LLVM. `HMDF_KERNELS` forces one that the processor has. A process that starts with avx2 or avxvnni forced
compiles all its kernels for a processor that has no more than that, so that what it measures is what such a processor
would run.
"""

from __future__ import annotations

import os

import llvmlite.binding as llvm
import numba

from ...errors import InputError
from .amx import Amx as Amx
from .avx2 import Avx2 as Avx2
from .avxvnni import AvxVnni as AvxVnni
from .neondot import NeonDot as NeonDot
from .neoni8mm import NeonI8mm as NeonI8mm
from .path import Path as Path
from .portable import Portable as Portable
from .vnni512 import Vnni512 as Vnni512

ENVIRONMENT = "HMDF_KERNELS"

PATHS: dict[str, Path] = {
    type(path).__name__.lower(): path
    for path in (Amx(), Vnni512(), AvxVnni(), Avx2(), NeonI8mm(), NeonDot(), Portable())
}
"""By the name that forces it, the fastest first; that of its file too."""


def choose_path() -> Path:
    """The fastest path of this processor, or the one that `HMDF_KERNELS` names.

    Raises:
        InputError: no path has that name, or this processor has not got it.
    """
    wanted, here = os.environ.get(ENVIRONMENT, ""), available_paths()
    if not wanted:
        return PATHS[here[0]]
    if wanted not in here:
        problem = f"this processor has {', '.join(here)}" if wanted in PATHS else f"the paths are {', '.join(PATHS)}"
        raise InputError(f"{ENVIRONMENT}={wanted}: {problem}")
    return PATHS[wanted]


def available_paths() -> list[str]:
    """Names of the paths that this processor has, the fastest first."""
    features = llvm.get_host_cpu_features()
    return [n for n, path in PATHS.items() if all(map(features.get, path.FEATURES)) and path.may_be_used()]


def name_of(path: Path) -> str:
    return next(name for name, known in PATHS.items() if type(known) is type(path))


_forced = os.environ.get(ENVIRONMENT, "")
if _forced in available_paths() and PATHS[_forced].PROCESSOR:
    numba.config.CPU_NAME, numba.config.CPU_FEATURES = PATHS[_forced].PROCESSOR, ""  # type: ignore[attr-defined]
