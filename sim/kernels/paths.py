"""The instruction sets that convolutions are written for, and which one this process uses.

`HMDF_KERNELS` forces one that the processor has. A process that starts with avx2 or avxvnni forced compiles all its
kernels for a processor that has no more than that, so that what it measures is what such a processor would run.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import llvmlite.binding as llvm
import numba

from ..errors import InputError

ENVIRONMENT = "HMDF_KERNELS"
QUADS, PAIRS, BYTE_PAIRS, QUADS_OF_RUN, QUADS_WIDENED = 1, 2, 3, 4, 5
"""How a convolution's patch meets its weights: 4 unsigned bytes with 4 signed ones; 2 signed 16-bit with 2; 2 unsigned
bytes, widened, with 2 signed 16-bit. Where 16 bits do not hold the sums of a whole patch: as QUADS, but widened after
each run, or at once."""


class Vnni512(NamedTuple):
    """AVX-512 with VNNI. The field, here and below, is there because compiled code needs one."""

    pixels: int = 8


class AvxVnni(NamedTuple):
    """VNNI in 256 bits, without AVX-512."""

    pixels: int = 6


class Avx2(NamedTuple):
    """256 bits without VNNI: sums in 16 bits wherever the weights prove that they fit."""

    pixels: int = 6


class Portable(NamedTuple):
    """Whatever LLVM makes of generic vectors."""

    pixels: int = 2


Path = Vnni512 | AvxVnni | Avx2 | Portable

PATHS: dict[str, tuple[Path, tuple[str, ...]]] = {
    "vnni512": (Vnni512(), ("avx512vnni", "avx512bw")),
    "avxvnni": (AvxVnni(), ("avxvnni", "avx2")),
    "avx2": (Avx2(), ("avx2",)),
    "portable": (Portable(), ()),
}
"""By the name that forces it: a path and the features of a processor that has it. The fastest first."""
_LIKE = {"avx2": "haswell", "avxvnni": "alderlake"}


def choose_path() -> Path:
    """The fastest path of this processor, or the one that `HMDF_KERNELS` names.

    Raises:
        InputError: no path has that name, or this processor has not got it.
    """
    wanted, here = os.environ.get(ENVIRONMENT, ""), available_paths()
    if not wanted:
        return PATHS[here[0]][0]
    if wanted not in here:
        problem = f"this processor has {', '.join(here)}" if wanted in PATHS else f"the paths are {', '.join(PATHS)}"
        raise InputError(f"{ENVIRONMENT}={wanted}: {problem}")
    return PATHS[wanted][0]


def available_paths() -> list[str]:
    """Names of the paths that this processor has, the fastest first."""
    features = llvm.get_host_cpu_features()
    return [name for name, (_, needed) in PATHS.items() if all(features.get(f) for f in needed)]


def name_of(path: Path) -> str:
    return next(name for name, (known, _) in PATHS.items() if type(known) is type(path))


_forced = os.environ.get(ENVIRONMENT, "")
if _forced in _LIKE and _forced in available_paths():
    numba.config.CPU_NAME, numba.config.CPU_FEATURES = _LIKE[_forced], ""  # type: ignore[attr-defined]
