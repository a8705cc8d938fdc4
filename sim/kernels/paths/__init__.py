"""The instruction sets that convolutions are written for, and which one this process uses.

`HMDF_KERNELS` forces one that the processor has. A process that starts with avx2 or avxvnni forced compiles all its
kernels for a processor that has no more than that, so that what it measures is what such a processor would run.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import NamedTuple

import llvmlite.binding as llvm
import numba

from ...errors import InputError

ENVIRONMENT = "HMDF_KERNELS"
QUADS, PAIRS, BYTE_PAIRS, QUADS_OF_RUN, QUADS_WIDENED, QUADS_IN_TILES = 1, 2, 3, 4, 5, 6
"""How a convolution's patch meets its weights: 4 unsigned bytes with 4 signed ones; 2 signed 16-bit with 2; 2 unsigned
bytes, widened, with 2 signed 16-bit. Where 16 bits do not hold the sums of a whole patch: as QUADS, but widened after
each run, or at once. In AMX's tiles: as QUADS, each run's weights followed by zeros up to a tile's row."""


class Amx(NamedTuple):
    """Matrix tiles, and Vnni512 where they do not fit. The field, here and below, is what compiled code needs."""

    pixels: int = 16


class Vnni512(NamedTuple):
    """AVX-512 with VNNI."""

    pixels: int = 8


class AvxVnni(NamedTuple):
    """VNNI in 256 bits, without AVX-512."""

    pixels: int = 6


class Avx2(NamedTuple):
    """256 bits without VNNI: sums in 16 bits wherever the weights prove that they fit."""

    pixels: int = 6


class NeonI8mm(NamedTuple):
    """Arm with products of unsigned with signed bytes."""

    pixels: int = 6


class NeonDot(NamedTuple):
    """Arm with products of signed bytes: for messages of at most 7 bits."""

    pixels: int = 6


class Portable(NamedTuple):
    """Whatever LLVM makes of generic vectors."""

    pixels: int = 2


Path = Amx | Vnni512 | AvxVnni | Avx2 | NeonI8mm | NeonDot | Portable

PATHS: dict[str, tuple[Path, tuple[str, ...]]] = {
    "amx": (Amx(), ("amx-int8", "avx512vnni", "avx512bw")),
    "vnni512": (Vnni512(), ("avx512vnni", "avx512bw")),
    "avxvnni": (AvxVnni(), ("avxvnni", "avx2")),
    "avx2": (Avx2(), ("avx2",)),
    "neoni8mm": (NeonI8mm(), ("i8mm", "dotprod")),
    "neondot": (NeonDot(), ("dotprod",)),
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
    here = [name for name, (_, needed) in PATHS.items() if all(features.get(f) for f in needed)]
    return here if "amx" not in here or _may_use_tiles() else here[1:]


@cache
def _may_use_tiles() -> bool:
    """Whether the system lets this process use AMX's registers: it must be asked."""
    if sys.platform != "linux":
        return False
    arch_prctl, request, tile_data = 158, 0x1023, 18  # ARCH_REQ_XCOMP_PERM: arch/x86/include/uapi/asm/prctl.h
    return ctypes.CDLL(None).syscall(arch_prctl, request, tile_data) == 0


def name_of(path: Path) -> str:
    return next(name for name, (known, _) in PATHS.items() if type(known) is type(path))


_forced = os.environ.get(ENVIRONMENT, "")
if _forced in _LIKE and _forced in available_paths():
    numba.config.CPU_NAME, numba.config.CPU_FEATURES = _LIKE[_forced], ""  # type: ignore[attr-defined]
