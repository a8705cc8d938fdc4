"""Measurements that need a process of their own: peak memory, first use, compile time. Run by speed.py.

    python benchmarks/children.py memory|first_use|compile ARGUMENTS

Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def measured(what: str, *arguments: object, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the measurement named `what` says, made in a fresh process."""
    command = [sys.executable, __file__, what, *map(str, arguments)]
    return json.loads(subprocess.check_output(command, env={**os.environ, **(environment or {})}))


def memory(path: str, samples: str, threads: str) -> dict[str, Any]:
    """Peak memory of a process that streams samples through a program."""
    import networks

    from hmdf.sim import storage
    from hmdf.sim.simulator import Simulator

    program = storage.load(path)
    images = networks.natural_images(100, program.input.shape[1])
    Simulator(int(threads)).simulate(program, (images for _ in range(int(samples) // len(images))))
    return {"bytes": peak_memory()}


def first_use(path: str) -> dict[str, Any]:
    """Seconds to the first result of one sample: of the simulation, and with all imports and the program's reading."""
    began = time.perf_counter()
    import networks

    from hmdf.sim import storage
    from hmdf.sim.simulator import Simulator

    program = storage.load(path)
    images = networks.natural_images(1, program.input.shape[1])
    ready = time.perf_counter()
    Simulator(1).simulate(program, images)
    done = time.perf_counter()
    return {"simulation": done - ready, "with_imports": done - began}


def compile(name: str, size: str, samples: str) -> dict[str, Any]:
    """Seconds and peak memory from a freshly initialised torch network to a proven program, calibration included."""
    import networks
    import torch

    import hmdf
    from hmdf.train.networks import NetworkSpec, build

    torch.manual_seed(0)
    imagenet = int(size) > 64
    shape, classes, stem = (3, int(size), int(size)), 1000 if imagenet else 10, "imagenet" if imagenet else "cifar"
    spec = NetworkSpec.from_dict(
        {"name": name, "input_shape": shape, "classes": classes, "parallel": "second", "stem": stem}
    )
    images = networks.natural_images(int(samples), int(size))[:, 0] / networks.CONTRAST
    network = build(spec).eval()
    imported = peak_memory()
    began = time.perf_counter()
    hmdf.compile(network, torch.from_numpy(images).float())
    return {"seconds": time.perf_counter() - began, "bytes": peak_memory(), "bytes_before": imported}


def peak_memory() -> int:
    """Bytes. On Linux not from getrusage, whose value a process inherits from the one that started it."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    measurements = {f.__name__: f for f in (memory, first_use, compile)}
    print(json.dumps(measurements[sys.argv[1]](*sys.argv[2:])))
