"""Every write of every command meets a fault: killed, disk full, read-only; then the clock jumps.

    python benchmarks/faults.py
    python benchmarks/faults.py --command train --every 3

A library that is loaded before libc (faults.c) counts what a command does to the files of its folder (open, write,
fsync, rename, mkdir, chmod) and lets the n-th of it fail, for every n; half of a write still arrives. After each fault
every file that can be seen must be whole; a disk that is full or read-only must have given one message and exit code 3,
and left nothing behind; and the same command, run again (hmdf-train with --resume), must end as if nothing had
happened: with the same weights, programs and points. At last the clock of the day jumps a day forth and back at every
look at it, and nothing but the time of day may differ, no duration be negative. Exit status 5 where that is not so.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import click
import numpy as np

KINDS = {"killed": 1, "disk full": 2, "read-only": 3, "clock jumps": 4}
TIMES = {"seconds", "finished"}
"""Keys of documents that differ between two runs."""


@click.command(help=__doc__)
@click.option("--command", "chosen", multiple=True, help="Only these  [default: all]")
@click.option("--fault", "faults", type=click.Choice([*KINDS]), multiple=True, help="Only these  [default: all]")
@click.option("--every", default=1, show_default=True, help="Only every so many-th operation.")
def main(chosen: tuple[str, ...], faults: tuple[str, ...], every: int) -> None:
    if "LD_PRELOAD" not in os.environ:
        sys.exit(begin_again())
    shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
    place = Path(tempfile.mkdtemp(prefix="hmdf-faults-")).resolve()
    commands = prepared(place)
    failures = 0
    click.echo(f"{'command':10}{'fault':12}{'tries':>6}{'survived':>10}")
    for name in chosen or commands:
        trial = Trial(shim, place / name, commands[name])
        code, _, operations = trial.run(0, 0)
        assert code == 0, name
        expected = contents(trial.folder)
        for fault in faults or KINDS:
            number = KINDS[fault]
            tries = range(1, 2 if fault == "clock jumps" else operations + 1, every)
            wrong = [(n, found) for n in tries if (found := trial.check(number, n, expected))]
            failures += len(wrong)
            click.echo(f"{name:10}{fault:12}{len(tries):>6}{len(tries) - len(wrong):>10}")
            for n, found in wrong[:5]:
                click.echo(f"    operation {n}: {found}")
    shutil.rmtree(place)
    sys.exit(5 if failures else 0)


def begin_again() -> int:
    """This program with the library of faults loaded first."""
    library = Path(tempfile.mkdtemp()) / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "forksafe"}
    environment = os.environ | threads | {"LD_PRELOAD": str(library)}
    return subprocess.run([sys.executable, *sys.argv], env=environment).returncode


class Trial:
    """A command that writes to `folder`, run in processes forked from this one, which has imported everything."""

    def __init__(self, shim: ctypes.CDLL, folder: Path, arguments: Callable[[Path], list[str]]) -> None:
        self.shim, self.folder, self.arguments = shim, folder, arguments(folder)

    def run(self, fault: int, at: int, fresh: bool = True) -> tuple[int, str, int]:
        """Exit code (-9: killed), what was said on standard error, and the number of operations."""
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        return forked(self.shim, str(self.folder), fault, at, self.arguments)

    def check(self, fault: int, at: int, expected: dict[str, str]) -> str:
        """What is wrong after the fault, or ""."""
        code, said, _ = self.run(fault, at)
        if code != -9 if fault == KINDS["killed"] else code not in (0, 3):
            return f"exit code {code}: {said}"
        if code == 3 and (len(said.strip().splitlines()) != 1 or not said.startswith("error: ")):
            return f"not one message: {said!r}"
        hidden = [path.name for path in self.folder.rglob(".*")] if self.folder.exists() else []
        if code == 3 and hidden:
            return f"left behind: {hidden}"
        try:
            contents(self.folder)
            code, said, _ = self.run(0, 0, fresh=False)
            again = contents(self.folder)
        except Exception as error:
            return f"half a file: {error!r}"
        if code:
            return f"does not run again: {said}"
        differ = sorted(name for name in expected.keys() | again.keys() if expected.get(name) != again.get(name))
        return f"other results: {', '.join(differ)}" if differ else ""


def forked(shim: ctypes.CDLL, folder: str, fault: int, at: int, arguments: list[str]) -> tuple[int, str, int]:
    """As Trial.run: a command in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        shim.fault_arm(folder.encode(), fault, ctypes.c_long(at))
        code, said = call(arguments)
        os.write(writer, json.dumps([said, shim.fault_count()]).encode())
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said, operations = json.loads(told) if told else ("", 0)
    return status, said, operations


def call(arguments: list[str]) -> tuple[int, str]:
    """A command in this process."""
    errors = io.StringIO()
    sys.argv = [f"hmdf-{arguments[0]}", *arguments[1:]]
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(errors):
            import_module(f"hmdf.tools.{arguments[0]}").main()
    except SystemExit as stop:
        return int(stop.code or 0), errors.getvalue()
    except BaseException:
        return 99, traceback.format_exc()
    return 98, ""


def prepared(place: Path) -> dict[str, Callable[[Path], list[str]]]:
    """What the commands read, and the commands. Each runs here once, so that its processes find everything imported and
    compiled; on one thread, since those of OpenMP do not survive a fork."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    data, base = place / "data.npz", place / "base"
    images, labels = digits.images[:60].astype(np.float32), digits.target[:60]
    np.savez(data, x_train=images, y_train=labels, x_test=images, y_test=labels)
    common = ["--data", str(data)]
    train = ["train", *common, "--width", "2", "--time-steps", "2", "--epochs", "2", "--threads", "1", "--resume"]
    calibrated = ["--calibration", str(data), "--target", "loihi2"]
    compiled = ["compile", str(base / "model.pt"), *calibrated, "--samples", "16", "--emit", "hmdf,onnx,c,vectors"]
    sim = ["sim", str(base / "model.hmdf"), *common, "--threads", "1"]
    explore = [
        "explore",
        str(base / "model.pt"),
        *common,
        *calibrated,
        "--bits",
        "2,4",
        "--steps",
        "1,2",
        "--jobs",
        "1",
    ]
    commands: dict[str, Callable[[Path], list[str]]] = {
        "train": lambda out: [*train, "--out", str(out)],
        "compile": lambda out: [*compiled, "--out", str(out)],
        "sim": lambda out: [*sim, "--json", str(out / "out.json")],
        "report": lambda out: ["report", str(base), "--out", str(out / "report.html")],
        "explore": lambda out: [*explore, "--out", str(out)],
        "slim": lambda out: ["slim", str(base / "model.pt"), "--out", str(out / "model.pt")],
    }
    for name, arguments in commands.items():
        code, said = call(arguments(base if name in ("train", "compile", "sim") else place / "first"))
        assert code == 0, said
    return commands


def contents(folder: Path) -> dict[str, str]:
    """Digests of what the files mean, times and what is hidden left out; raises where one is not whole."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {str(name): digest(path) for name, path in paths.items() if not any(p.startswith(".") for p in name.parts)}


def digest(path: Path) -> str:
    from hmdf.sim import storage
    from hmdf.train import checkpoint

    match path.suffix:
        case ".pt":
            state = checkpoint.load(path).state
            content: bytes = b"".join(name.encode() + state[name].numpy().tobytes() for name in sorted(state))
        case ".hmdf":
            content = storage.load(path).sha256.encode()
        case ".json":
            content = json.dumps(timeless(json.loads(path.read_text()))).encode()
        case ".html":
            assert path.read_text().rstrip().endswith("</html>")
            content = b""
        case ".csv":
            lines = path.read_text().splitlines()
            assert len({line.count(",") for line in lines}) == 1
            assert not any(line.rpartition(",")[2].startswith("-") for line in lines)
            content = str(len(lines)).encode()
        case ".svg" | ".png" | ".pdf":
            assert path.stat().st_size
            content = b""
        case _:
            content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def timeless(value: object) -> object:
    """A document without what differs between two runs."""
    if isinstance(value, dict):
        assert (value.get("seconds") or 0) >= 0
        return {key: timeless(inner) for key, inner in value.items() if key not in TIMES}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
