"""Loaded by the worker processes of `--cluster local:N`."""

import signal


def dask_setup(worker: object) -> None:
    """An interrupt from the keyboard reaches the whole group; the command deals with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
