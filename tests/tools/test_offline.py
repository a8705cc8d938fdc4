"""The commands need no network: they run in a namespace that has none, and none of them tries to reach one."""

import ctypes
import io
import os
import socket
import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest
from processes import Child

NEW_NETWORK, NEW_USER = 0x40000000, 0x10000000  # unshare(2)
REACHING_OUT = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")


def without_network(model: Path, data: Path, folder: Path) -> None:
    """Train, compile, simulate and report where there is no network; prints what was tried, and "done"."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NETWORK) and libc.unshare(NEW_USER | NEW_NETWORK):
        print(f"no right to a namespace: {os.strerror(ctypes.get_errno())}")
        return
    sys.addaudithook(lambda event, arguments: print(event, arguments) if event in REACHING_OUT else None)
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
    for arguments in (
        ("train", "--data", data, "--width", "2", "--time-steps", "2", "--epochs", "1", "--threads", "1",
         "--out", folder),
        ("compile", model, "--calibration", data, "--samples", "16", "--out", folder),
        ("sim", folder / "model.hmdf", "--data", data, "--verify", "reference,onnx", "--target", "all",
         "--against", model, "--json", folder / "out.json"),
        ("report", folder, "--out", folder / "report.html"),
        ("slim", model, "--out", folder / "slim.pt"),
    ):  # fmt: skip
        sys.argv = [f"hmdf-{arguments[0]}", *map(str, arguments[1:])]
        with pytest.raises(SystemExit) as stop, redirect_stdout(io.StringIO()):
            import_module(f"hmdf.tools.{arguments[0]}").main()
        assert stop.value.code == 0, arguments
    print("done")


def test_no_command_needs_or_tries_a_network(demo, tmp_path):
    lines = list(Child(without_network, demo.model, demo.data, tmp_path).lines())
    if lines and lines[0].startswith("no right"):
        pytest.skip(lines[0])
    assert lines == ["done"]
    page = (tmp_path / "report.html").read_text()
    assert "<script src=" not in page
    assert "<link" not in page
