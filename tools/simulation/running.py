"""The samples of a run simulated, here or on a cluster, with finished blocks kept where that is asked for."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

import hmdf
from hmdf.sim.simulator import Simulator
from hmdf.train.data import Dataset
from hmdf.train.data.lazy_images import LazyImages
from hmdf.train.data.picture_files import Pictures

from ..cluster import identity
from ..console import Advance, alone_in, progress, tell
from .blocks import MOST, Block, BlockResult, Totals, blocks_of, pack, run_block
from .executors import Checks, Verifier
from .feed import Feed
from .kept import KeptBlocks, RunFacts, content_digest
from .remote import DataReference, Shipment, address_of, run_cluster

Results = Generator[tuple[Block, BlockResult, bytes], None, None]


def run_samples(
    file: Path,
    feed: Feed,
    data: Dataset | Pictures,
    reference: DataReference,
    simulator: Simulator,
    checks: Checks,
    cluster: str | None,
    resume: Path | None,
) -> tuple[Totals, float]:
    """Every sample of a feed once, and the seconds that the simulation took.

    Args:
        file, reference: where the program and the data come from.
        cluster: "local:N", the address of a Dask scheduler, or None for this process.
        resume: folder of finished blocks.

    Raises:
        DataError, InputError: a sample is damaged, or the folder is of another run.
        WorkerError: the cluster cannot be used.
    """
    program, samples = feed.program, len(feed)
    totals = Totals(program, samples)
    with ExitStack() as stack:
        if cluster is None and resume is None:
            work, kept, run = blocks_of(samples, 4 * MOST * simulator.threads), None, ""
        else:
            work = blocks_of(samples)
            facts = RunFacts(
                hmdf.__version__, program.sha256, data.name, data.split, samples, content_digest(data),
                work[0].stop, str(checks),
            )  # fmt: skip
            kept, run = None, facts.key
            if resume is not None:
                stack.enter_context(alone_in(resume, "--resume"))
                kept = KeptBlocks(resume, facts)
        advance = stack.enter_context(progress(_doing(checks, cluster), samples))
        for block, result in [] if kept is None else kept.found():
            totals.add(block, result)
            advance(block.stop - block.start)
        if kept is not None and totals.done:
            tell(f"{len(totals.done)} of {len(work)} blocks were finished before")
        work = [block for block in work if block.start not in totals.done]
        if cluster is None or not work:
            results = _run_here(feed, work, simulator, checks, run if kept else None, advance)
        else:
            lazy = isinstance(data.inputs, LazyImages)
            shipment = Shipment(
                identity=identity(),
                run=run,
                file=file.read_bytes(),
                program=program.sha256,
                time_steps=program.time_steps,
                data=None if lazy else _absolute(reference),
                content=facts.content,
                name=data.name,
                pictures=isinstance(data, Pictures),
                checks=checks,
            )
            address = stack.enter_context(address_of(cluster))
            results = _shown(run_cluster(address, shipment, work, data.inputs if lazy else None, tell), advance)
        stack.enter_context(closing(results))
        began = time.perf_counter()
        for block, result, content in results:
            totals.add(block, result)
            if kept is not None:
                kept.keep(block, content)
        seconds = totals.seconds if cluster is None else time.perf_counter() - began
    return totals, seconds


def _run_here(
    feed: Feed, work: list[Block], simulator: Simulator, checks: Checks, run: str | None, advance: Advance
) -> Results:
    """One block after the other in this process; packed where the run's key is given."""
    verifier = Verifier(checks, simulator)
    for block in work:
        result = run_block(feed, block, simulator, verifier, advance)
        yield block, result, b"" if run is None else pack(run, block, result)


def _shown(results: Results, advance: Advance) -> Results:
    for found in results:
        advance(found[0].stop - found[0].start)
        yield found


def _absolute(reference: DataReference) -> DataReference:
    """A reference that means the same in another folder."""
    root = None if reference.root is None else reference.root.absolute()
    name = reference.name
    if Path(name.partition("@")[0]).exists():
        name = str(Path(name).absolute())
    return msgspec.structs.replace(reference, name=name, root=root)


def _doing(checks: Checks, cluster: str | None) -> str:
    return f"simulating{' and verifying' if checks.names else ''}{f' on {cluster}' if cluster else ''}"
