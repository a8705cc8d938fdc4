"""A run on a Dask cluster: the program travels to each worker once, samples as references, and blocks come back.

Nothing depends on which worker runs a block, nor on when it comes back. What is lost with a worker is run again by
Dask; what is lost with the scheduler's connection is submitted again from here.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, local
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from hmdf.extras import require
from hmdf.sim import storage
from hmdf.sim.errors import HmdfError, InputError
from hmdf.sim.kernels.compiling import digest_of_sources
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator
from hmdf.sim.steps import with_steps
from hmdf.train.data.lazy_images import LazyImages
from hmdf.train.errors import DataError

from ..cluster import NoCluster, WorkerError, connected, identity
from ..inputs import load_data
from . import local_worker
from .blocks import Block, BlockResult, pack, run_block, unpack
from .executors import Checks, Verifier
from .feed import Feed
from .kept import content_digest

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL = "local:"
SILENT = logging.CRITICAL + 1
RECONNECT_SECONDS = 120.0
"""That a lost scheduler is waited for."""
MOST_FAILURES = 3
"""Times that Dask may give a block up (each time after four workers died of it) before it is taken for the cause."""


class DataReference(msgspec.Struct, frozen=True):
    """Which data set a worker loads; None for the folder that its own HMDF_DATA names."""

    name: str
    split: str
    root: Path | None
    samples: int | None


class Shipment(msgspec.Struct, frozen=True):
    """What a worker needs once.

    Attributes:
        identity: of the hmdf that this is for.
        run: key of the run.
        file, program: a .hmdf file, and the digest of the program that it becomes in `time_steps` steps.
        data, content: a data set and its digest; data is None where image files come with each block.
        name, pictures: see `Feed`.
        checks: what is compared.
    """

    identity: str
    run: str
    file: bytes
    program: str
    time_steps: int
    data: DataReference | None
    content: str
    name: str
    pictures: bool
    checks: Checks


class Refusal(msgspec.Struct, frozen=True):
    """Why a worker did not run a block: the input is bad, or the worker cannot be used."""

    cause: Literal["input", "worker"]
    text: str


# ------------------------------------------------------------------------- in a worker


class _Prepared:
    """A shipment made ready; threads of a worker share its program and data."""

    def __init__(self, shipment: Shipment) -> None:
        if shipment.identity != identity():
            raise WorkerError(f"has hmdf {identity()}, the command has {shipment.identity}: install the same")
        self.program = _program(shipment)
        self.inputs: Any = None
        if shipment.data is not None:
            of = shipment.data
            data = load_data(of.name, of.split, of.root, of.samples)
            if content_digest(data) != shipment.content:
                raise WorkerError(f"its '{of.name}' is not the data set that the command has: give it the same files")
            self.inputs = data.inputs
        self._checks, self._own = shipment.checks, local()
        _compile_kernels(self.program)

    def executors(self) -> tuple[Simulator, Verifier]:
        """Of this thread."""
        if not hasattr(self._own, "executors"):
            simulator = Simulator(threads=1)
            verifier = Verifier(self._checks, simulator)
            self._own.executors = simulator, verifier
        return self._own.executors


_prepared: dict[str, _Prepared] = {}
_preparing = Lock()


def ship(shipment: Shipment) -> Shipment:
    """A task of its own, so that Dask moves it to each worker once, and makes it again when it is lost."""
    return shipment


def remote_block(
    shipment: Shipment, start: int, stop: int, images: LazyImages | None, sizes: list[int]
) -> bytes | Refusal:
    """A packed block; a task of a worker.

    Args:
        images, sizes: the image files of the block and their bytes, where the shipment has no data set.
    """
    try:
        with _preparing:
            if shipment.run not in _prepared:
                _prepared.clear()
                _prepared[shipment.run] = _Prepared(shipment)
        prepared = _prepared[shipment.run]
        if images is not None:
            _check_files(images, sizes, start)
        inputs, first = (prepared.inputs, 0) if images is None else (images, start)
        feed = Feed(prepared.program, inputs, shipment.pictures, shipment.name, first)
        simulator, verifier = prepared.executors()
        block = Block(start, stop)
        result = run_block(feed, block, simulator, verifier)
        return pack(shipment.run, block, result)
    except (WorkerError, ModuleNotFoundError) as error:
        return Refusal("worker", str(error))
    except (HmdfError, DataError) as error:
        return Refusal("input", str(error))


def _program(shipment: Shipment) -> Program:
    with tempfile.NamedTemporaryFile(suffix=".hmdf") as file:
        file.write(shipment.file)
        file.flush()
        program = with_steps(storage.load(file.name), shipment.time_steps)
    if program.sha256 != shipment.program:
        raise WorkerError(f"was sent program {program.sha256[:12]} instead of {shipment.program[:12]}")
    return program


def _check_files(images: LazyImages, sizes: list[int], start: int) -> None:
    for index, (path, size) in enumerate(zip(images.paths, sizes, strict=True), start):
        if not path.exists():
            raise WorkerError(f"has no {path} (sample {index}): let the workers see the same folders")
        if (found := path.stat().st_size) != size:
            raise WorkerError(f"sees {path} (sample {index}) with {found} bytes, the command with {size}")


def _compile_kernels(program: Program) -> None:
    """Let one process of a machine compile the kernels, and the others find them on disk."""
    mark = Path(tempfile.gettempdir()) / f"hmdf-kernels-{os.getuid()}-{digest_of_sources():x}"
    with mark.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.tell() == 0:
            zeros = np.zeros((1, program.input_steps, *program.input.shape), np.int32)
            Simulator(threads=1).count(program, [zeros])
            file.write(b"compiled")


# ------------------------------------------------------------------------ in the command


def _silence_dask() -> None:
    """What it has to say, the run is told as events."""
    require("distributed", "--cluster")
    for handler in logging.getLogger("distributed").handlers:
        handler.setLevel(SILENT)


@contextmanager
def address_of(cluster: str) -> Iterator[str]:
    """The address of a scheduler as it is, or that of a cluster of processes here for `local:N`."""
    if not cluster.startswith(LOCAL):
        yield cluster
        return
    _silence_dask()
    distributed, config = require("distributed", "--cluster"), require("dask.config", "--cluster")
    # Nobody looks at the profile, which Dask takes a hundred times a second.
    with config.set({"distributed.worker.profile.enabled": False}), distributed.LocalCluster(
        n_workers=int(cluster.removeprefix(LOCAL)),
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=SILENT,
        preload=[local_worker.__name__],
    ) as started:  # fmt: skip
        started.loop.add_callback(_replace_dead, started)
        yield started.scheduler_address


def _replace_dead(cluster: Any) -> None:
    """Dask starts a killed worker again, but not one that is killed while it starts, or takes long to start."""
    if cluster.status.name != "running":
        return
    for name in [name for name, nanny in cluster.workers.items() if nanny.status.name in ("closed", "failed")]:
        del cluster.workers[name]
    if len(cluster.workers) < len(cluster.worker_spec):
        cluster.scale(len(cluster.worker_spec))
    cluster.loop.call_later(1, _replace_dead, cluster)


def run_cluster(
    address: str, shipment: Shipment, work: Iterable[Block], images: LazyImages | None, tell: Callable[[str], None]
) -> Generator[tuple[Block, BlockResult, bytes], None, None]:
    """Every block once, as soon as it is known, with its packed form.

    Args:
        images: files that are sent by reference, where the shipment names no data set.
        tell: is given what happens to workers, and to samples that are refused.

    Raises:
        InputError: samples are damaged; the other blocks have come by then.
        WorkerError: workers cannot be used, or none came back.
    """
    _silence_dask()
    missing, lost, session = dict.fromkeys(work), 0.0, _Session(shipment, images, tell)
    while missing:
        try:
            with connected(address, "--cluster") as client:
                for block, result, content in session.run(client, list(missing)):
                    del missing[block]
                    lost = 0.0
                    yield block, result, content
            break
        except NoCluster:
            if not lost or time.monotonic() > lost + RECONNECT_SECONDS:
                raise
            time.sleep(1)
        except (CancelledError, OSError):
            lost = lost or time.monotonic()
            tell(f"the connection to {address} is lost, {len(missing)} blocks are not finished: connecting again")
    session.require_all()


class _Session:
    """Blocks on a cluster; what is known of blocks stays from one connection to the next."""

    def __init__(self, shipment: Shipment, images: LazyImages | None, tell: Callable[[str], None]) -> None:
        self.shipment, self.images, self.tell = shipment, images, tell
        self.failures: Counter[Block] = Counter()
        self.refused: dict[Block, str] = {}

    def run(self, client: Client, work: list[Block]) -> Iterator[tuple[Block, BlockResult, bytes]]:
        from distributed import KilledWorker

        queue: SimpleQueue[Any] = SimpleQueue()
        client.subscribe_topic("all", lambda event: queue.put(event[1]))
        workers = set(client.scheduler_info(n_workers=-1)["workers"])
        shipped = client.submit(ship, self.shipment, pure=False)
        running: dict[Any, tuple[Block, Future[Any]]] = {}

        def submit(block: Block) -> None:
            part, sizes = None, []
            if self.images is not None:
                part = self.images.part(*block)
                sizes = [path.stat().st_size for path in part.paths]
            future = client.submit(remote_block, shipped, *block, part, sizes, pure=False)
            running[future.key] = block, future
            future.add_done_callback(queue.put)

        try:
            for block in work:
                if block not in self.refused:
                    submit(block)
            while running:
                item = queue.get()
                if isinstance(item, dict):
                    self._about_worker(item, workers, {key: block for key, (block, _) in running.items()})
                    continue
                block, future = running.pop(item.key)
                try:
                    answer = future.result()
                except KilledWorker:
                    self._again(block, "killed their workers (out of memory?)")
                    submit(block)
                    continue
                if isinstance(answer, Refusal):
                    self._refuse(block, answer)
                    continue
                found = unpack(answer, self.shipment.run)
                if found is None or found[0] != block:
                    self._again(block, "came back damaged")
                    submit(block)
                    continue
                yield block, found[1], answer
        finally:  # what was heard of workers meanwhile is said too
            while not queue.empty():
                if isinstance(item := queue.get(), dict):
                    self._about_worker(item, workers, {})

    def require_all(self) -> None:
        """Raise InputError when samples were refused."""
        if self.refused:
            first, *others = sorted(self.refused)
            more = f" (and {len(others)} more: see above)" if others else ""
            raise InputError(f"{self.refused[first]}{more}")

    def _again(self, block: Block, what: str) -> None:
        self.failures[block] += 1
        if self.failures[block] >= MOST_FAILURES:
            raise WorkerError(f"samples {_text(block)} {what} again and again")
        self.tell(f"samples {_text(block)} {what}; they are run again")

    def _refuse(self, block: Block, refusal: Refusal) -> None:
        if refusal.cause == "worker":
            raise WorkerError(f"a worker for samples {_text(block)} {refusal.text}")
        self.refused[block] = refusal.text
        self.tell(f"samples {_text(block)} are not counted: {refusal.text}")

    def _about_worker(self, event: dict[str, Any], workers: set[str], running: dict[Any, Block]) -> None:
        worker = event.get("worker", "")
        if event.get("action") == "add-worker" and worker not in workers:
            workers.add(worker)
            self.tell(f"worker {worker} joined; there are {len(workers)}")
        elif event.get("action") == "remove-worker" and worker in workers:
            workers.remove(worker)
            lost = [running[key] for key in event["processing-tasks"] if key in running]
            again = f"; samples {', '.join(_text(block) for block in sorted(lost))} are run again" if lost else ""
            left = f"there are {len(workers)}" if workers else "none is left: waiting for one"
            self.tell(f"worker {worker} is gone{again}; {left}")


def _text(block: Block) -> str:
    return f"{block.start}..{block.stop - 1}"
