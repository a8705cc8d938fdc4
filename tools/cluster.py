"""Dask clusters for the commands: connecting to one, and refusing workers that are not what this process is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import hmdf
from hmdf.extras import require
from hmdf.sim.errors import HmdfError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 15.0


class WorkerError(HmdfError):
    """Workers are missing, differ from this process, or died."""


class NoCluster(WorkerError):  # noqa: N818 - the name says what happened
    """No scheduler answers, or it has no workers."""


@contextmanager
def connected(address: str, option: str = "--scheduler") -> Iterator[Client]:
    """A client of a Dask scheduler that has workers with this version of hmdf.

    Args:
        option: the command's option that gave the address, for messages.

    Raises:
        NoCluster: nobody answers at the address, or it has no workers.
        WorkerError: they cannot run this version's jobs.
    """
    distributed = require("distributed", option)
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise NoCluster(f"no Dask scheduler answers at '{address}': {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError:
            raise NoCluster(f"the Dask scheduler at '{address}' has no workers: start them with dask worker") from None
        _check_versions(client)
        yield client


@cache
def identity() -> str:
    """The version of hmdf that runs here, with a digest of its sources: what a worker must share with a command."""
    digest = hashlib.sha256()
    folder = Path(hmdf.__file__).parent
    for part in ("export", "hw_targets", "sim", "tools", "train"):
        for file in sorted((folder / part).resolve().rglob("*.py")):
            digest.update(file.read_bytes())
    return f"{hmdf.__version__} (sources {digest.hexdigest()[:12]})"


def _check_versions(client: Client) -> None:
    found: dict[str, str | Exception] = client.run(identity, on_error="return")
    for worker, version in found.items():
        if isinstance(version, OSError):
            continue  # it went away just now; whoever comes later is checked by what it is given to do
        if isinstance(version, ModuleNotFoundError):
            raise WorkerError(f"the Dask worker {worker} cannot import {version.name}: install hmdf[train] there too")
        if version != identity():
            raise WorkerError(f"the Dask worker {worker} has hmdf {version}, this is {identity()}: install the same")
