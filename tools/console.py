"""What the command lines share: errors and exit codes, consoles, tables, progress bars."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, Protocol

import click
from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hmdf.extras import explained
from hmdf.sim.errors import HmdfError, InputError
from hmdf.train.errors import DataError, ModelError, TrainingError, lost


def run_cli(command: click.Command) -> NoReturn:
    """Run a command; whatever goes wrong is one message on standard error and an exit code.

    0 done, 2 usage, 3 bad input, 4 does not fit the target, 5 executors differ, 130 interrupted.
    """
    try:
        command.main(standalone_mode=False)
        code = 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted; nothing that was complete is lost")
        code = 130
    except (HmdfError, DataError, ModelError, TrainingError) as error:
        _complain(f"error: {error}")
        code = getattr(error, "exit_code", 3)
    except ModuleNotFoundError as error:
        if (missing := explained(error)) is None:
            raise
        _complain(f"error: {missing}")
        code = missing.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        _complain(f"error: {error.filename or ''}: {error.strerror or error}")
        code = 3
    except Exception as error:  # A fault of ours, if it is no other: still one message, with the way to the traceback.
        if os.environ.get("HMDF_TRACEBACK"):
            raise
        fault = f"a fault in hmdf ({type(error).__name__}: {error})"
        advice = "" if lost(error) else ". Please report it with what HMDF_TRACEBACK=1 shows"
        _complain(f"error: {lost(error) or fault}; nothing that was complete is lost{advice}")
        code = 1
    sys.exit(code)


@contextmanager
def alone_in(folder: Path, option: str = "--out") -> Iterator[None]:
    """Makes the folder; no two commands write to it at a time.

    Raises:
        InputError: another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another command is writing to it; wait, or give another {option}") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def _complain(message: str) -> None:
    print(message, file=sys.stderr)


def tell(message: str) -> None:
    """Say on standard error what happens meanwhile; a progress bar stays below it."""
    print(message, file=sys.stderr, flush=True)


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # for run_cli: whoever reads the output has seen enough, which is no error


def console() -> Console:
    """Standard output; wide enough for every table when it is not a terminal."""
    return _Screen(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)


def table(*columns: str, left: int = 1) -> Table:
    """An aligned table; the first `left` columns are text, the others numbers. A long first cell is folded, not cut."""
    result = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        justify: JustifyMethod = "left" if index < left else "right"
        result.add_column(column, justify=justify, no_wrap=index > 0, overflow="fold")
    return result


def print_table(screen: Console, grid: Table, *dispensable: str) -> None:
    """Print a table; where it is too wide, with narrower gaps, then without its `dispensable` columns, first to last.

    What is left out is named below it.
    """
    hidden: list[str] = []
    if _width(screen, grid) > screen.width:
        grid.padding = (0, 1, 0, 0)
    for name in dispensable:
        if _width(screen, grid) <= screen.width:
            break
        grid = _without(grid, name)
        hidden.append(name)
    screen.print(grid)
    if hidden:
        screen.print(f"not shown, the screen is narrow: {', '.join(hidden)}", style="dim")


def _width(screen: Console, grid: Table) -> int:
    return Measurement.get(screen, screen.options.update(max_width=10_000), grid).maximum


def _without(grid: Table, name: str) -> Table:
    kept = [column for column in grid.columns if column.header != name]
    result = Table(box=None, pad_edge=False, padding=grid.padding)
    for column in kept:
        result.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap, overflow=column.overflow)
    for row in zip(*(column.cells for column in kept), strict=True):
        result.add_row(*row)
    return result


class Advance(Protocol):
    """Advances a progress bar by `done`, and tells it the total when that becomes known."""

    def __call__(self, done: int, total: int | None = None) -> None: ...


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Advance]:
    """A progress bar on standard error; yields a function that advances it."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def advance(done: int, total: int | None = None) -> None:
            bar.update(task, total=total)  # None leaves it as it is
            bar.advance(task, done)

        yield advance
