"""What a user sees when Lava is missing, broken, fails or hangs; and that a bundle needs nothing of hmdf."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from hmdf.export.lava import Lava, LavaError, export_bundle, run_bundle
from hmdf.sim.errors import InputError
from hmdf.sim.program import Program
from hmdf.sim.reference import run
from programs import random_messages, random_program

SEED = 3
SETUP_SECONDS = 50.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program() -> Program:
    return random_program(SEED)


@pytest.fixture
def bundle(program: Program, tmp_path: Path) -> Path:
    return export_bundle(program, tmp_path / "bundle")


def interpreter(folder: Path, environment: str, options: str) -> str:
    """A Python of its own: this one, started with options and environment variables."""
    script = folder / "python"
    script.write_text(f'#!/bin/sh\n{environment} exec "{sys.executable}" {options} "$@"\n')
    script.chmod(0o755)
    return str(script)


# ------------------------------------------------------------------ missing and broken


def test_missing_lava_is_one_line(program: Program, tmp_path: Path) -> None:
    with pytest.raises(LavaError) as error:
        Lava(interpreter(tmp_path, "", "-S")).run(program, random_messages(program, 1, 0))
    message = str(error.value)
    assert "\n" not in message
    assert "Lava is not installed for" in message
    assert "pip install --no-deps --ignore-requires-python lava-nc==0.10.0" in message


def test_broken_lava_is_one_line(program: Program, tmp_path: Path) -> None:
    package = tmp_path / "broken" / "lava"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AttributeError('no attribute\\n newshape')")
    with pytest.raises(LavaError) as error:
        Lava(interpreter(tmp_path, f'PYTHONPATH="{package.parent}"', "")).run(program, random_messages(program, 1, 0))
    message = str(error.value)
    assert "\n" not in message
    assert "Lava does not import in" in message
    assert "AttributeError: no attribute newshape" in message
    assert "pip install" in message


def test_missing_interpreter(program: Program) -> None:
    with pytest.raises(LavaError, match=r"/no/python: cannot be started \(No such file"):
        Lava("/no/python").run(program, random_messages(program, 1, 0))


def test_unfit_messages(program: Program, bundle: Path) -> None:
    messages = random_messages(program, 1, 0)
    with pytest.raises(InputError, match="input must be integers"):
        Lava().run(program, messages.astype(float))
    with pytest.raises(LavaError, match=r"messages.npy: must be integers of shape \(N, "):
        run_bundle(bundle, messages[..., :-1])


# ------------------------------------------------------------- children that misbehave


def sabotage(bundle: Path, statement: str) -> None:
    """Let the process of the input do something at time-step 5."""
    file = bundle / "hmdf_lava" / "processes" / "source.py"
    before, marker, after = file.read_text().partition("    def run_spk(self) -> None:\n")
    file.write_text(f"{before}{marker}        if self.time_step == 5:\n            {statement}\n{after}")


def abandoned() -> set[str]:
    """Shared memory that no process has: what Lava would leave there, and not what tests beside this one work with."""
    names = {name for name in os.listdir("/dev/shm") if not name.startswith("sem.loky-")}  # joblib's
    maps = []
    for process in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):  # it has ended
            maps.append(process.read_text())
    return {name for name in names if not any(f"/dev/shm/{name}" in text for text in maps)}


def left_behind(before: set[str]) -> set[str]:
    """What is abandoned now and was not before; others may be about to take or remove theirs, so look for a while."""
    end = time.monotonic() + 10
    left = abandoned() - before
    while left and time.monotonic() < end:
        time.sleep(0.1)
        left &= abandoned()
    return left


def test_a_child_that_raises_shows_its_traceback(program: Program, bundle: Path) -> None:
    before = abandoned()
    sabotage(bundle, "raise OverflowError('planted')")
    with pytest.raises(LavaError) as error:
        run_bundle(bundle, random_messages(program, 2, SEED), time_limit=60)
    assert "the Lava process of 'input' failed" in str(error.value)
    assert "source.py" in str(error.value)
    assert "OverflowError: planted" in str(error.value)
    assert not left_behind(before)


def test_a_child_that_dies_is_named(program: Program, bundle: Path) -> None:
    sabotage(bundle, "import os, signal; os.kill(os.getpid(), signal.SIGBUS)")
    with pytest.raises(LavaError, match="the Lava process of 'input' died with SIGBUS; is /dev/shm"):
        run_bundle(bundle, random_messages(program, 2, SEED), time_limit=60)


def test_a_child_that_hangs_is_ended_and_shown(program: Program, bundle: Path) -> None:
    before = abandoned()
    sabotage(bundle, "import time; time.sleep(1000)")
    with pytest.raises(LavaError) as error:
        run_bundle(bundle, random_messages(program, 2, SEED), time_limit=6)
    message = str(error.value)
    assert message.startswith("not done within the time limit of 6 s")
    assert message.count("stands here") == 1
    assert "the Lava process of 'input' stands here" in message.replace("The", "the")
    assert "source.py" in message
    assert "in run_spk" in message
    assert not left_behind(before)
    assert not running(bundle)


def running(bundle: Path) -> list[str]:
    """Command lines of processes that still run this bundle."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(process.read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in lines if str(bundle) in line]


def test_a_worker_that_says_nothing_is_killed(program: Program, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hmdf.export.lava.executor.GRACE_SECONDS", 1.0)
    (bundle / "run.py").write_text("import time\nprint('asleep', flush=True)\ntime.sleep(1000)\n")
    with pytest.raises(LavaError, match=r"still running after 1\.5 s:\nasleep"):
        run_bundle(bundle, random_messages(program, 1, SEED), time_limit=0.5)
    assert not running(bundle)


# ------------------------------------------------------------------------- on its own


def test_bundle_runs_without_hmdf(program: Program, bundle: Path, tmp_path: Path) -> None:
    """From another folder, isolated from the environment, with hmdf made impossible to import."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    np.save(elsewhere / "messages.npy", random_messages(program, 2, SEED))
    start = (
        "import runpy, sys; sys.modules['hmdf'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-I", "-c", start, str(bundle / "run.py")]
    command += ["--input", "messages.npy", "--output", "out.npz"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run(command, cwd=elsewhere, env=environment, check=True, timeout=120)
    with np.load(elsewhere / "out.npz", allow_pickle=False) as arrays:
        assert arrays.files == ["logits"]
        np.testing.assert_array_equal(arrays["logits"], run(program, random_messages(program, 2, SEED)).logits)
    assert sorted(p.name for p in elsewhere.iterdir()) == ["messages.npy", "out.npz"]


def test_bundle_runs_on_python_3_10(program: Program) -> None:
    """The Python that Lava declares. Skipped, with the reason as a warning, where there is none."""
    python, did = python_3_10()
    warnings.warn(did)
    if python is None:
        pytest.skip(did)
    messages = random_messages(program, 2, SEED)
    taps, wanted = Lava(python, time_limit=60).run(program, messages), run(program, messages)
    np.testing.assert_array_equal(taps.logits, wanted.logits)
    for name, message in wanted.messages.items():
        np.testing.assert_array_equal(taps.messages[name], message, err_msg=name)


def python_3_10() -> tuple[str | None, str]:
    """A Python 3.10 with Lava, and what was done to get it: one found, or a virtual environment in build/."""
    places = [shutil.which("python3.10"), *sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python3.10"))]
    found = [str(place) for place in places if place and says(str(place), "import sys; print(sys.version_info[:2])")]
    if not found:
        return None, "no Python 3.10 on this machine: the bundle ran on this Python only"
    home = ROOT / "build" / "lava-python3.10"
    own = str(home / "bin" / "python")
    for python in (own, *found):
        if says(python, "import lava.proc.conv.process, sys; print(sys.version_info[:2])"):
            return python, f"the bundle ran on {python} as well"
    pip = [own, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    end = time.monotonic() + SETUP_SECONDS
    try:
        for command in (
            [found[0], "-m", "venv", "--clear", str(home)],
            [*pip, "numpy>=1.26", "scipy", "networkx", "asteval"],
            [*pip, "--no-deps", "lava-nc==0.10.0"],
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=max(0, end - time.monotonic()))
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(home, ignore_errors=True)
        return None, f"{found[0]} has no Lava, and installing it in {home} failed: {error}"
    return own, f"the bundle ran on {own} as well, a virtual environment made for it"


def says(python: str, statement: str) -> bool:
    """Whether an interpreter runs a statement and says that it is 3.10."""
    try:
        result = subprocess.run([python, "-c", statement], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return False
    return result.returncode == 0 and result.stdout.strip() == "(3, 10)"
