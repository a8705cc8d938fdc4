"""Runs a Program in Lava: a bundle in a temporary folder, its run.py in another process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hmdf.sim.errors import HmdfError
from hmdf.sim.executor import Taps, check_messages
from hmdf.sim.program import Program

from .bundle import export_bundle

GRACE_SECONDS = 15.0
"""How much longer than its own time limit run.py may take, to say where it hangs, before it is killed."""
POLITE_SECONDS = 0.5
"""From SIGTERM to SIGKILL."""


class LavaError(HmdfError):
    """Lava is missing, or a run failed or took too long; the message holds what run.py said."""


class Lava:
    """Executor: Lava's fixed-point simulation on the CPU. Counts no saturations.

    Args:
        python: the interpreter that has Lava; by default the one that runs hmdf.
        time_limit: seconds for one run.
        lava_conv: use Lava's own model of Conv, slower, instead of ours with the same output.
    """

    name = "lava"

    def __init__(self, python: str = sys.executable, time_limit: float = 3600.0, lava_conv: bool = False) -> None:
        self.python, self.time_limit, self.lava_conv = python, time_limit, lava_conv

    def run(self, program: Program, messages: np.ndarray) -> Taps:
        """All samples back to back in one run.

        Args:
            messages: integers (N, 1 or T, *input shape).

        Raises:
            InputError: the array does not fit the program.
            ProgramError: Lava cannot compute this program exactly.
            LavaError: Lava is missing, or the run failed, or took longer than `time_limit`.
        """
        check_messages(program, messages)
        with tempfile.TemporaryDirectory(prefix="hmdf-lava-") as scratch:
            bundle = export_bundle(program, Path(scratch) / "bundle")
            return run_bundle(
                bundle, messages, python=self.python, time_limit=self.time_limit, lava_conv=self.lava_conv
            )


def run_bundle(
    bundle: Path,
    messages: np.ndarray,
    *,
    python: str = sys.executable,
    time_limit: float = 3600.0,
    lava_conv: bool = False,
) -> Taps:
    """Run the bundle in a folder; see `Lava`."""
    with tempfile.TemporaryDirectory(prefix="hmdf-lava-") as scratch:
        folder = Path(scratch)
        np.save(folder / "messages.npy", messages, allow_pickle=False)
        command = [python, str(bundle / "run.py"), "--taps", "--time-limit", str(time_limit)]
        command += ["--input", str(folder / "messages.npy"), "--output", str(folder / "out.npz")]
        if lava_conv:
            command.append("--lava-conv")
        _execute(command, folder / "log", time_limit + GRACE_SECONDS)
        with np.load(folder / "out.npz", allow_pickle=False) as arrays:
            names = [name for name in arrays.files if name != "logits"]
            return Taps({name.removeprefix("taps/"): arrays[name] for name in names}, arrays["logits"])


def _execute(command: list[str], log: Path, seconds: float) -> None:
    """Run a command in a process group of its own, which is gone afterwards, whatever happened.

    Output goes to a file: children that outlive their parent would keep a pipe open.

    Raises:
        LavaError: it could not be started, failed, or took too long.
    """
    with open(log, "wb") as stream:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            reason = f"cannot be started ({error.strerror})"
            raise LavaError(f"{command[0]}: {reason}; name a Python that has Lava") from None
        code = None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end_group(process, done=code == 0)
    if code != 0:
        raise LavaError(_explanation(log.read_text(errors="replace"), code, seconds))


def _end_group(process: subprocess.Popen[bytes], *, done: bool) -> None:
    """End a process and all it started.

    Unless it is done, politely first: Python's resource tracker, which ignores SIGTERM, then frees the shared memory.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not done:
            os.killpg(process.pid, signal.SIGTERM)
            time.sleep(POLITE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _explanation(log: str, code: int | None, seconds: float) -> str:
    """What run.py said from its first "error:" on, or all it said."""
    text = log.strip()
    if found := re.search(r"^error: ", text, re.MULTILINE):
        return text[found.end() :]
    ended = f"still running after {seconds:g} s" if code is None else f"exit code {code}"
    return f"the Lava run failed, {ended}:\n{text[-4000:]}"
