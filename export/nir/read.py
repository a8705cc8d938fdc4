"""Reads NIR: a file as a graph, nothing allocated before its sizes are checked; a graph and samples as layers."""

from __future__ import annotations

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
from .layers import canonical, input_extents, layers_of

MOST_BYTES = 4 << 30
"""Of all arrays of a file, unpacked."""
MOST_OBJECTS = 100_000
DEEPEST = 64
"""Groups within groups of a file: four for every graph within a graph."""
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
    nir, h5py = require("nir", "a NIR file"), require("h5py", "a NIR file")
    try:
        with open(path, "rb"):
            pass
        if not h5py.is_hdf5(path):
            raise InputError(f"{path}: is no HDF5 file, so no NIR file")
        with h5py.File(path, "r") as file:
            _check_sizes(h5py, file, path)
        return nir.read(path, type_check=False)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except KeyError as error:
        raise InputError(f"{path}: is no NIR graph: it has no {error}") from None
    except (ValueError, TypeError, AssertionError, AttributeError, RuntimeError, IndexError) as error:
        raise InputError(f"{path}: is no NIR graph: {error}") from None


def _check_sizes(h5py: Any, file: Any, path: Path) -> None:
    """Raise InputError for links out of the file, arrays stored elsewhere, and what does not fit memory."""
    waiting, objects, size = [(file, 0)], 0, 0
    while waiting:
        group, depth = waiting.pop()
        for name in group:
            objects += 1
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"{path}: '{group.name}/{name}' is a link, which a NIR file has no need of")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                waiting.append((entry, depth + 1))
                continue
            if entry.is_virtual or entry.external:
                raise InputError(f"{path}: the data of '{entry.name}' are not in it")
            size += entry.nbytes
        if size > MOST_BYTES or objects > MOST_OBJECTS or depth > DEEPEST:
            problem = f"has over {MOST_BYTES >> 30} GiB of arrays" if size > MOST_BYTES else "has too many groups"
            raise InputError(f"{path}: {problem}")
