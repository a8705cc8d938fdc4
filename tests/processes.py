"""Processes that begin with torch imported: forked from one that imports it once, for what a test does to a process."""

from __future__ import annotations

import multiprocessing
import os
import runpy
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["pytest", "sklearn.datasets", "hmdf.train.trainer"])


class Child:
    """A process that calls a function of a test's file with arguments, which are pickled, and an environment."""

    def __init__(self, function: Callable[..., None], *arguments: Any, **environment: str) -> None:
        self._reader, writer = FORKED.Pipe(duplex=False)
        place = function.__code__.co_filename, function.__name__
        self.process = FORKED.Process(target=_begin, args=(writer, environment, *place, arguments))
        self.process.start()
        writer.close()

    def lines(self) -> Iterator[str]:
        """What it prints, its traceback included, until it ends."""
        with os.fdopen(os.dup(self._reader.fileno())) as stream:
            for line in stream:
                yield line.rstrip("\n")
        self.process.join(60)


def _begin(writer: Connection, environment: dict[str, str], file: str, name: str, arguments: tuple[Any, ...]) -> None:
    for descriptor in (1, 2):
        os.dup2(writer.fileno(), descriptor)
    writer.close()
    os.environ |= environment
    runpy.run_path(file)[name](*arguments)
