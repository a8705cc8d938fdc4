"""Processes and Dask workers give the same points; without either one is told."""

import sys

import pytest

from hmdf.tools import cluster as dask_cluster
from hmdf.tools.exploration.runners import run_cluster, run_processes

from .conftest import EVERY, timeless

SMALL = ("--bits", "2,4", "--steps", "1..T", "--target", "loihi2,loihi1")


def test_processes_give_the_same_points(workload, measured):
    found = [point for part in run_processes(workload, EVERY, 2) for point in part]
    assert timeless(found) == timeless(measured)


def test_two_dask_workers_give_the_same_points(demo, workload, measured, call, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        with dask_cluster.connected(cluster.scheduler_address) as client:
            assert len(client.scheduler_info()["workers"]) == 2
            found = [point for part in run_cluster(workload, EVERY, client) for point in part]
        assert timeless(found) == timeless(measured)
        outcome = call("explore", demo.model, "--data", demo.data, *SMALL, "--scheduler", cluster.scheduler_address,
                       "--out", tmp_path / "out")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert len(list((tmp_path / "out" / "points").iterdir())) == 8


def test_no_scheduler_answers(demo, call, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1.0)
    outcome = call("explore", demo.model, "--data", "digits", "--scheduler", "tcp://127.0.0.1:9", "--out", tmp_path)
    assert outcome.code == 3
    assert "error: no Dask scheduler answers at 'tcp://127.0.0.1:9'" in outcome.err


def test_dask_is_missing(demo, call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    outcome = call("explore", demo.model, "--data", "digits", "--scheduler", "tcp://127.0.0.1:9", "--out", tmp_path)
    assert outcome.code == 3
    assert outcome.err == "error: --scheduler needs distributed, which is not installed: pip install 'hmdf[explore]'\n"
