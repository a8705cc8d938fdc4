"""Runs a Program as C: written, compiled by the machine's compiler and run in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmdf.sim.errors import HmdfError
from hmdf.sim.executor import Taps, check_messages
from hmdf.sim.program import Program

from .layout import DTYPES, channels_first, channels_last, message_code
from .source import export_c

COMPILERS = ("cc", "gcc", "clang")
"""Tried in this order, after the environment's CC."""
FLAGS = ("-std=c99", "-O2")
_SHOWN = 4000


class CompilerError(HmdfError):
    """There is no C compiler, or it refused the code, or the program that it made failed; the message says which."""


def find_compiler() -> str:
    """The machine's C compiler: CC of the environment, cc, gcc or clang.

    Raises:
        CompilerError: there is none.
    """
    wanted = os.environ.get("CC", "")
    for name in (wanted, *COMPILERS):
        if name and shutil.which(name.split()[0]):
            return name
    tried = ", ".join(name for name in (f"CC={wanted}" if wanted else "", *COMPILERS) if name)
    raise CompilerError(f"there is no C compiler (tried {tried}); install one, such as gcc, or set CC")


class CompiledC:
    """Executor: the very C that is written for users, compiled with taps. Counts no saturations.

    Args:
        compiler: its command; the machine's unless given.
        flags: its options.
        time_limit: seconds for compiling, and for running.
    """

    name = "c"

    def __init__(self, compiler: str | None = None, flags: Sequence[str] = FLAGS, time_limit: float = 3600.0) -> None:
        self.compiler, self.flags, self.time_limit = compiler, tuple(flags), time_limit
        self._built: tuple[Program, tempfile.TemporaryDirectory[str]] | None = None

    def run(self, program: Program, messages: NDArray[Any]) -> Taps:
        """Run N samples through all T steps.

        Args:
            messages: integers (N, 1 or T, *input shape) within the input's message range.

        Raises:
            InputError: the array does not fit the program.
            ProgramError: the program cannot be written as C.
            CompilerError: there is no compiler, or it failed, or what it made.
        """
        check_messages(program, messages)
        if self._built is None or self._built[0] is not program:
            self._built = (program, self._build(program))
        folder = Path(self._built[1].name)
        code, shape = message_code(program.input.message), program.input.shape
        channels_last(messages, shape).astype(DTYPES[code]).tofile(folder / "inputs")
        text = self._execute([str(folder / "c" / "model"), str(folder / "inputs"), str(folder / "taps")])
        logits = np.array([line.split() for line in text.splitlines()], np.int64).reshape(-1, program.classes)
        return Taps(_messages(program, folder / "taps", len(messages)), logits)

    def _build(self, program: Program) -> tempfile.TemporaryDirectory[str]:
        compiler = self.compiler or find_compiler()
        scratch = tempfile.TemporaryDirectory(prefix="hmdf-c-")
        folder = export_c(program, Path(scratch.name) / "c")
        build(folder, compiler, (*self.flags, "-DMODEL_TAPS"), self.time_limit)
        return scratch

    def _execute(self, command: list[str]) -> str:
        return execute(command, self.time_limit)


def build(folder: Path, compiler: str, flags: Sequence[str], time_limit: float = 3600.0) -> Path:
    """Compile an exported folder; returns the program "model" in it.

    Raises:
        CompilerError: the compiler is missing or refused the code.
    """
    sources = [str(folder / name) for name in ("main.c", "model.c", "weights.c")]
    execute([*compiler.split(), *flags, "-o", str(folder / "model"), *sources], time_limit)
    return folder / "model"


def execute(command: list[str], seconds: float, folder: Path | None = None) -> str:
    """Standard output of a command, run in a folder.

    Raises:
        CompilerError: it cannot be started, failed, or took too long.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, cwd=folder
        )
    except OSError as error:
        raise CompilerError(f"{command[0]}: cannot be started ({error.strerror}); name a C compiler by CC") from None
    except subprocess.TimeoutExpired:
        raise CompilerError(f"{command[0]}: still running after {seconds:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-_SHOWN:]
        raise CompilerError(f"{command[0]} failed, exit code {done.returncode}:\n{said}")
    return done.stdout


def _messages(program: Program, path: Path, samples: int) -> dict[str, NDArray[Any]]:
    """Taps of all populations by name, from a file that holds them by sample, step and population."""
    fields = [
        (f"p{i}", DTYPES[message_code(p.message)], (int(np.prod(p.shape)),)) for i, p in enumerate(program.populations)
    ]
    records = np.fromfile(path, np.dtype(fields)).reshape(samples, program.time_steps)
    return {
        p.name: channels_first(records[f"p{i}"], p.shape).astype(np.int32) for i, p in enumerate(program.populations)
    }
