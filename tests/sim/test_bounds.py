"""The checks of `checked_kernels`; `make bounds` runs the kernels with them."""

import subprocess
import sys
from pathlib import Path


def test_the_checks_find_what_they_are_for():
    """In a process of its own, whose kernels are not kept: functions compiled with checks would become part of them."""
    file = Path(__file__).parent / "checked_moves.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(".") >= 10  # one for each test
