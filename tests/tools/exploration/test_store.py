"""Nothing finished is lost, and only what is missing is measured again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hmdf.tools.exploration import runners
from hmdf.tools.exploration.measure import measure
from hmdf.tools.exploration.runners import Job
from hmdf.tools.exploration.store import Store

from ..conftest import ENVIRONMENT

SMALL = ("--bits", "2,4", "--steps", "1..T", "--target", "loihi2,loihi1")


def test_kept_points_come_back_and_damaged_ones_do_not(measured, tmp_path):
    store = Store(tmp_path)
    for point in measured:
        store.keep(point)
    assert [store.find(p.key) for p in measured] == measured
    assert store.find("0" * 32) is None
    path = tmp_path / "points" / f"{measured[0].key}.json"
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\xff\x00", b"{}", b"[1]", whole.replace(b"loihi2", b"\xff")):
        path.write_bytes(damaged)
        assert store.find(measured[0].key) is None
    path.write_bytes((tmp_path / "points" / f"{measured[1].key}.json").read_bytes())
    assert store.find(measured[0].key) is None


def test_only_what_is_missing_is_measured_again(demo, call, tmp_path, monkeypatch):
    out = tmp_path / "out"
    command = ("explore", demo.model, "--data", demo.data, *SMALL, "--jobs", "1", "--out", out)
    assert call(*command).code == 0
    first = json.loads((out / "exploration.json").read_text())
    paths = sorted((out / "points").iterdir())
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    done: list[Job] = []

    def counted(workload, setting, targets):
        done.append(Job(setting, targets))
        return measure(workload, setting, targets)

    monkeypatch.setattr(runners, "measure", counted)
    outcome = call(*command)
    assert outcome.code == 0
    assert "6 of 8 points were measured before" in outcome.out
    assert sum(len(job.targets) for job in done) == 2
    again = json.loads((out / "exploration.json").read_text())
    assert [p | {"seconds": 0} for p in again["points"]] == [p | {"seconds": 0} for p in first["points"]]
    assert again["chosen"] == first["chosen"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_exploration_goes_on(demo, call, tmp_path, how):
    """Stopped after its first point, it leaves no worker behind, and the next run measures the rest only."""
    out = tmp_path / "out"
    options = [demo.model, "--data", demo.data, "--bits", "1..4", "--input-bits", "6..8", "--out", out]
    command = [sys.executable, "-m", "hmdf.tools.explore", *map(str, options), "--jobs", "2"]
    process = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: kept(out), "the first point")
    if how == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, how)  # as the keyboard does: all processes of the group
    _, said = process.communicate(timeout=60)
    wait_for(lambda: not alive(process.pid), "the end of the workers")
    before = kept(out)
    assert 0 < before < 24
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert said.strip() == "interrupted; nothing that was complete is lost"
    outcome = call("explore", *options, "--jobs", "1")
    assert outcome.code == 0
    assert f"{before} of 24 points were measured before" in outcome.out
    assert kept(out) == len(json.loads((out / "exploration.json").read_text())["points"]) == 24


def kept(out: Path) -> int:
    """Points whose files are whole; one that is being written has a name that begins with a dot."""
    return len(list((out / "points").glob("[!.]*.json")))


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, what: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)
