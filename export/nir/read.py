"""Reads NIR: a file as a graph, nothing allocated before its sizes are checked; a graph and samples as layers."""

from __future__ import annotations

import io
import subprocess
import sys
from ast import literal_eval
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hmdf.extras import require
from hmdf.sim.contract import Shape
from hmdf.sim.errors import InputError
from hmdf.sim.finding import Finding

from ..graph import LayerGraph
from .dialect import Dialect, own_dialect
from .layers import input_extents, layers_of
from .parameters import canonical

HDF5 = b"\x89HDF\r\n\x1a\n"
PATIENCE = 30.0
"""Seconds for a file of no size; a large one gets a second more for every 10 MB."""
MOST_STEPS = 1 << 16


class Read(NamedTuple):
    """Layers, with samples in the shape that they take, whether these come as frames, and how the graph was read."""

    layers: LayerGraph
    samples: np.ndarray
    framed: bool
    remarks: tuple[Finding, ...]


def read_graph(graph: Any, samples: Any, dialect: Dialect, time_steps: int | None = None) -> Read:
    """The layers of a NIR graph for such samples, (N, *shape) shown at every step or (N, T, *shape) as frames.

    Args:
        samples: a flat input may be an image, whose shape the program then takes; (C, L) becomes (C, 1, L).
        time_steps: T; of frames, how many there are.

    Raises:
        CompileError: with a finding for every node that cannot be compiled.
        InputError: the samples do not fit the graph, or T is not known.
    """
    dialect = own_dialect(graph, dialect)
    extents, x = input_extents(graph), np.asarray(samples)
    sizes = {prod(extents[i:]) for i in range(len(extents))}  # without the batch that may lead them
    framed = prod(x.shape[1:]) not in sizes
    own = x.shape[2 if framed else 1 :]
    if not own or prod(own) not in sizes or len(own) > 3:
        raise InputError(f"samples of shape {x.shape} do not fit the graph's input {extents}: give (N, T, *input)")
    steps = x.shape[1] if framed else time_steps
    if steps is None:
        raise InputError("the samples have one frame, and NIR does not say for how many time-steps: give --time-steps")
    if time_steps not in (None, steps):
        raise InputError(f"the samples have {steps} frames, but {time_steps} time-steps are wanted")
    if not 1 <= steps <= MOST_STEPS:
        raise InputError(f"time-steps must be in 1..{MOST_STEPS} (got {steps})")
    shape: Shape = canonical(own)
    x = x.reshape(*x.shape[: 2 if framed else 1], *shape)
    remark = Finding("graph", f"read as {dialect}", "", "note")
    return Read(layers_of(graph, dialect, steps, shape), x, framed, (remark,))


def read_file(path: Path) -> Any:
    """The graph of a NIR file.

    Raises:
        InputError: no such file, no HDF5, no NIR in it, or arrays that are larger than memory allows.
        MissingExtraError: the package nir is not installed.
    """
    nir = require("nir", "a NIR file")
    require("h5py", "a NIR file")
    try:
        with open(path, "rb") as file:
            if file.read(len(HDF5)) != HDF5:
                raise InputError(f"{path}: is no HDF5 file, so no NIR file")
        nodes = _contents(path).get("node", {})
        return nir.dict2NIRNode({**nodes, "type_check": False})
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except KeyError as error:
        raise InputError(f"{path}: is no NIR graph: it has no {error}") from None
    except (ValueError, TypeError, ArithmeticError, AssertionError, AttributeError, RuntimeError, IndexError) as error:
        raise InputError(f"{path}: is no NIR graph: {error}") from None


def _contents(path: Path) -> dict[str, Any]:
    """The groups of an HDF5 file as dictionaries, its arrays and texts in them, read in a process that may crash."""
    patience = PATIENCE + path.stat().st_size * 1e-7
    command = [sys.executable, "-P", str(Path(__file__).with_name("hdf5.py")), str(path)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=patience)
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: damaged: after {patience:.0f} s the HDF5 library is not done with it") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise InputError(f"{path}: {reason or 'damaged: the HDF5 library crashes on it'}")
    result: dict[str, Any] = {}
    stream = io.BytesIO(done.stdout)
    while line := stream.readline():
        name, kind, shape = literal_eval(line.decode())
        groups, _, key = name.rpartition("/")
        group = result
        for part in groups.split("/") if groups else ():
            group = group.setdefault(part, {})
        if key:
            array = np.frombuffer(stream.read(np.dtype(kind).itemsize * prod(shape)), kind).reshape(shape)
            value = np.char.decode(array, "utf-8").astype(object) if kind[1] == "S" else array
            group[key] = value[()]
    return result
