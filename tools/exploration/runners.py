"""Where points are measured: in this process, in processes of this machine, or on the workers of a Dask cluster.

Each runner is a generator of the points of each job as soon as they are known; whoever stops listening to it
stops its workers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from threading import Thread
from typing import TYPE_CHECKING

import msgspec

from ..cluster import WorkerError
from ..documents.exploration import Point, Setting
from .measure import measure
from .workload import Workload

if TYPE_CHECKING:
    from distributed import Client


class Job(msgspec.Struct, frozen=True):
    """A setting and the targets that it is still to be measured on."""

    setting: Setting
    targets: tuple[str, ...]


def run(workload: Workload, jobs: list[Job], processes: int | None, client: Client | None) -> Iterator[list[Point]]:
    """On a cluster where there is one; else in at most so many processes (one per processor for None)."""
    if client is not None:
        return run_cluster(workload, jobs, client)
    processes = min(processes or processors(), len(jobs))
    return run_here(workload, jobs) if processes < 2 else run_processes(workload, jobs, processes)


def run_here(workload: Workload, jobs: list[Job]) -> Iterator[list[Point]]:
    """One job after the other."""
    for job in jobs:
        yield measure(workload, job.setting, job.targets)


# -------------------------------------------------------------------------- processes


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_processes(workload: Workload, jobs: list[Job], processes: int) -> Iterator[list[Point]]:
    """As many jobs at a time as processes, each with one thread.

    Raises:
        WorkerError: a process was killed, for instance for want of memory.
    """
    # Never forked from this process: its threads (PyTorch's, Numba's) would not survive that.
    server = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if server else "spawn")
    if server:
        context.set_forkserver_preload([measure.__module__])
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, _start, (workload,))
    try:
        for done in as_completed([pool.submit(_measure, job) for job in jobs]):
            yield done.result()
    except BrokenProcessPool:
        raise WorkerError(
            "a worker process was killed (out of memory?); finished points are kept: the same command with fewer "
            "--jobs goes on from there"
        ) from None
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_shared: list[Workload] = []
"""In a worker process: the workload of its jobs."""


def _start(workload: Workload) -> None:
    # An interrupt from the keyboard reaches the whole group; the parent deals with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    _shared.append(workload)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _measure(job: Job) -> list[Point]:
    return measure(_shared[0], job.setting, job.targets)


# ------------------------------------------------------------------------------ Dask


def run_cluster(workload: Workload, jobs: list[Job], client: Client) -> Iterator[list[Point]]:
    """Jobs wherever the scheduler sends them; the workload travels to each worker once.

    Raises:
        WorkerError: workers died over a job again and again.
    """
    from distributed import KilledWorker
    from distributed import as_completed as completed

    shared = client.scatter(workload, broadcast=True, hash=False)
    futures = [client.submit(measure, shared, job.setting, job.targets, pure=False) for job in jobs]
    try:
        for done in completed(futures, loop=client.loop):
            yield done.result()
    except KilledWorker as error:
        raise WorkerError(f"a Dask worker was killed over and over (out of memory?): {error}") from None
    finally:
        client.cancel([*futures, shared])
