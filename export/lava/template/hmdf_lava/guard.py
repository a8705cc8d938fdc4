"""Watches Lava's child processes. Lava itself waits forever when one of them raises, dies or hangs."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

FAILED = 1
TIME_LIMIT = 4
INTERRUPTED = 130
STOP_SECONDS = 10.0
"""How long the children may take to end once the results are written."""
WAITING = ("threading.py", "multiprocessing", "pypychannel.py")
"""Where a child that waits for a neighbour stands; a child that stands elsewhere is the one that hangs."""
LAVA_LOOP = "lava/magma/core/model/py/model.py"
"""Below this frame the stacks of all children are the same."""


class Guard(threading.Thread):
    """Ends this process, and all children, when a child fails or the time is up.

    Args:
        process: any of the Lava processes.
        seconds: time limit.
        scratch: folder to remove at such an end.
    """

    def __init__(self, process: Any, seconds: float, scratch: Path) -> None:
        super().__init__(daemon=True)
        self.process, self.seconds, self.scratch = process, seconds, scratch
        self.end = time.monotonic() + seconds
        self.done = False
        self.owner = os.getpid()
        # The children inherit the handler and the file when Lava forks them.
        self.stacks = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        faulthandler.register(signal.SIGUSR1, file=self.stacks, all_threads=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._interrupted)

    def run(self) -> None:
        while time.monotonic() < self.end:
            time.sleep(0.05)
            if not self.done:
                self.report_failure()
        if self.done:
            self.exit(0)
        self._report_hang()
        self.exit(TIME_LIMIT)

    def finish(self) -> None:
        """The results are written: the children may end now, and are ended if they do not."""
        self.end = time.monotonic() + STOP_SECONDS
        self.done = True

    def report_failure(self) -> None:
        """If a child has raised or died, print its traceback and exit."""
        for name, child in self._children().items():
            text = _failure(child)
            if text and not self.done:
                print(f"error: the Lava process of '{name}' {text}", file=sys.stderr)
                self.exit(FAILED)

    def exit(self, code: int) -> None:
        """End all children and this process, whatever they do."""
        self.done, self.end = True, math.inf  # the children that are killed here have not failed
        sys.stdout.flush()
        sys.stderr.flush()
        for child in self._children().values():
            with contextlib.suppress(Exception):
                child.kill()
        with contextlib.suppress(Exception):
            self.process.runtime._messaging_infrastructure.smm.shutdown()
        shutil.rmtree(self.scratch, ignore_errors=True)
        os._exit(code)

    def _interrupted(self, *_: Any) -> None:
        if os.getpid() != self.owner:  # a child, which has inherited this handler
            os._exit(INTERRUPTED)
        self.exit(INTERRUPTED)

    def _children(self) -> dict[str, Any]:
        """Lava's system processes by the name of the Process they run, in the order in which Lava starts them."""
        runtime = self.process.runtime
        infrastructure = getattr(runtime, "_messaging_infrastructure", None)
        if infrastructure is None:
            return {}
        names = [process.name for process in runtime._executable.proc_builders]
        actors = list(infrastructure.actors)
        names += [f"runtime service {index}" for index in range(len(actors) - len(names))]
        return dict(zip(names, actors, strict=False))

    def _report_hang(self) -> None:
        """Print where the children stand: those that compute, else those that wait for a neighbour in a step."""
        stacks = {name: self._stack(child.pid) for name, child in self._children().items() if _runs(child)}
        computing = {name: stack for name, stack in stacks.items() if not _waits(stack)}
        blocked = {name: stack for name, stack in stacks.items() if "run_spk" in stack}
        shown = computing or blocked or stacks
        print(f"error: not done within the time limit of {self.seconds:g} s", file=sys.stderr)
        for name, stack in shown.items():
            print(f"The Lava process of '{name}' stands here:\n{stack}", file=sys.stderr)
        print(f"{len(stacks) - len(shown)} other Lava processes wait", file=sys.stderr)

    def _stack(self, pid: int) -> str:
        """The stack of a child, most recent call first."""
        start = os.fstat(self.stacks.fileno()).st_size
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)
        text = ""
        for _ in range(50):
            time.sleep(0.01)
            before, text = text, os.pread(self.stacks.fileno(), 1 << 20, start).decode(errors="replace")
            if text and text == before:
                break
        lines = text.splitlines()
        common = next((index for index, line in enumerate(lines) if LAVA_LOOP in line), len(lines))
        return "\n".join(lines[:common])


def _failure(child: Any) -> str:
    """What went wrong in a child, or ''."""
    try:
        if child.exception:
            return f"failed:\n{child.exception[1]}"
    except Exception as error:  # the exception of the child does not unpickle here
        return f"failed with an exception that cannot be shown ({error})"
    try:
        code = child.exitcode
    except ValueError:  # Lava has joined and closed it
        return ""
    if not code:
        return ""
    hint = "; is /dev/shm, or the disk of the output, full?" if code == -signal.SIGBUS else ""
    return f"died with {signal.Signals(-code).name}{hint}" if code < 0 else f"died with exit code {code}"


def _runs(child: Any) -> bool:
    try:
        return child.is_alive()
    except ValueError:
        return False


def _waits(stack: str) -> bool:
    first = next((line for line in stack.splitlines() if line.lstrip().startswith("File")), "")
    return any(where in first for where in WAITING)
