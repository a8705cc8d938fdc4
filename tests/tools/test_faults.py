"""One folder, one command; no memory, one message. What failing writes leave is in benchmarks/faults.py."""

import fcntl
import os
import re
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--data", "digits", "--epochs", "1"],
        ["compile", "MODEL", "--samples", "8", "--emit", "hmdf"],
        ["explore", "MODEL", "--data", "digits", "--bits", "2", "--steps", "1"],
    ],
)
def test_two_commands_do_not_write_to_one_folder(call, demo, tmp_path, command):
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    outcome = call(*[demo.model if part == "MODEL" else part for part in command], "--out", tmp_path)
    os.close(held)
    assert outcome.code == 3
    assert outcome.err == f"error: {tmp_path}: another command is writing to it; wait, or give another --out\n"
    assert not list(tmp_path.iterdir())


def test_without_memory_there_is_one_message(call, demo, monkeypatch):
    def load(path):
        raise MemoryError

    monkeypatch.setattr("hmdf.sim.storage.load", load)
    outcome = call("sim", demo.program)
    assert (outcome.code, outcome.err) == (1, "error: out of memory; nothing that was complete is lost\n")


def test_no_result_depends_on_the_clock():
    """A clock that jumps changes nothing but when a run is said to have finished."""
    root = Path(__file__).parents[2]
    files = [
        path for folder in ("train", "sim", "hw_targets", "export", "tools") for path in (root / folder).rglob("*.py")
    ]
    reading = [path for path in files if re.search(r"\btime\.time\(|\.now\(|\.today\(|\butcnow\(", path.read_text())]
    assert [path.relative_to(root).as_posix() for path in reading] == ["tools/simulation/counts.py"]
