"""One run of a bundle: all samples back to back in Lava, results to one .npz file."""

from __future__ import annotations

import json
import os
import resource
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv

from hmdf_lava.guard import FAILED, Guard
from hmdf_lava.network import Network
from hmdf_lava.processes.fast_conv import PyFastConvModel

CHANNEL_SLOTS = 2
"""Messages a channel holds. All processes step together, so one is in flight; Lava's default of 64 would take
64 times the memory of all messages from /dev/shm."""


class UnfitInput(ValueError):  # noqa: N818 - the name says what is wrong
    """The input file does not fit the network; the message says how."""


def simulate(folder: Path, *, messages: Path, output: Path, taps: bool, lava_conv: bool, time_limit: float) -> None:
    """Run the bundle in `folder`.

    Args:
        messages: .npy file, integers (N, 1 or T, *input shape).
        output: .npz file to write: `logits` int64 (N, classes); with `taps`, `taps/NAME` int32 (N, T, *shape) for
            every population.
        lava_conv: use Lava's own model of Conv.
        time_limit: seconds; after it, or when a process of Lava fails, this process says why and exits.

    Raises:
        UnfitInput: nothing was run.
    """
    graph = json.loads((folder / "graph.json").read_text())
    samples = _check(messages, graph)
    with tempfile.TemporaryDirectory(dir=output.resolve().parent, prefix=".hmdf-lava-") as scratch:
        files = _files(Path(scratch), graph, samples, taps)
        populations = {name.removeprefix("taps/"): path for name, path in files.items() if name != "logits"}
        network = Network(folder, messages.resolve(), files["logits"], populations)
        guard = Guard(network.base, time_limit, Path(scratch))
        if samples:
            _run(network, guard, samples, lava_conv)
        _write(output, files)
        guard.finish()
    network.base.stop()


def _check(messages: Path, graph: dict[str, Any]) -> int:
    """The number of samples in the file, if it fits."""
    try:
        array = np.load(messages, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UnfitInput(f"{messages}: cannot be read as an .npy array ({error})") from None
    wanted = (graph["input_steps"], *graph["input_shape"])
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu" or array.shape[1:] != wanted:
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "an archive"
        raise UnfitInput(f"{messages}: must be integers of shape (N, {', '.join(map(str, wanted))}), found {found}")
    low, high = graph["input_range"]
    if array.size and (array.min() < low or array.max() > high):
        raise UnfitInput(f"{messages}: messages must lie in [{low}, {high}], found {array.min()}..{array.max()}")
    return len(array)


def _files(scratch: Path, graph: dict[str, Any], samples: int, taps: bool) -> dict[str, Path]:
    """Zero-filled .npy files, by their names in the result: the processes map them into memory and fill them."""
    steps = graph["time_steps"]
    shapes: dict[str, tuple[int, ...]] = {"logits": (samples, graph["classes"])}
    for entry in graph["processes"]:
        if taps and entry["kind"] == "population":
            shapes[f"taps/{entry['name']}"] = (samples, steps, *entry["shape"])
    files = {}
    for index, (name, shape) in enumerate(shapes.items()):
        files[name] = scratch / f"{index}.npy"
        dtype = np.int64 if name == "logits" else np.int32
        np.save(files[name], np.zeros(shape, dtype))
    return files


def _run(network: Network, guard: Guard, samples: int, lava_conv: bool) -> None:
    # Every channel takes a few file descriptors.
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    models = {} if lava_conv else {Conv: PyFastConvModel}
    configuration = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=models)
    steps = samples * network.graph["time_steps"] + network.graph["latency"]
    guard.start()
    try:
        network.base.run(
            condition=RunSteps(num_steps=steps),
            run_cfg=configuration,
            compile_config={"pypy_channel_size": CHANNEL_SLOTS},
        )
    except Exception:  # Lava's own, raised while its children still run: leaving normally would wait for them
        guard.report_failure()
        traceback.print_exc()
        guard.exit(FAILED)


def _write(output: Path, files: dict[str, Path]) -> None:
    """Collect the arrays in one .npz, written beside and renamed."""
    arrays = {name: np.load(path, mmap_mode="r", allow_pickle=False) for name, path in files.items()}
    beside = output.with_name(f".{output.name}.{os.getpid()}")
    with open(beside, "wb") as stream:
        np.savez(stream, **arrays)
    os.replace(beside, output)
