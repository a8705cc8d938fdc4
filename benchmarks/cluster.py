"""hmdf-sim on a cluster: equal files, what faults leave, efficiency, memory, and what a sample costs on the wire.

    python benchmarks/cluster.py [equal kills restart efficiency whole memory wire] [--samples 4000] [--files 100000]

Runs `hmdf-sim` as a user does, on the test images of CIFAR-10 (in HMDF_DATA) and on synthetic class folders; kills only
processes that it has started. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

BIN, ROOT = Path(sys.executable).parent, Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "examples" / "cifar10-resnet18w32.hmdf"
TIMING = ("timing", "run")


def main() -> None:
    parser = argparse.ArgumentParser()
    parts = {part.__name__: part for part in (equal, kills, restart, efficiency, whole, memory, wire)}
    parser.add_argument("parts", nargs="*", default=list(parts))
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--kernels", default="", help="HMDF_KERNELS of the efficiency")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hmdf-cluster-") as folder:
        os.chdir(folder)
        for name in given.parts:
            for what, figure in parts[name](given):
                print(f"{name:<11} {what:<62} {figure}", flush=True)


Rows = Iterator[tuple[str, str]]


def equal(given: argparse.Namespace) -> Rows:
    """Two local workers against one process, with a verification."""
    options = ("--samples", str(given.samples // 10), "--verify", "reference", "--verify-samples", "40")
    one, two = sim(PROGRAM, *options), sim(PROGRAM, *options, "--cluster", "local:2")
    yield "local:2 and one process: out.json but for timing", same(one, two)


def kills(given: argparse.Namespace) -> Rows:
    """20 kills of random workers at random moments, with a block finished at least between two of them."""
    options, random_ = ("--samples", str(given.samples)), random.Random(0)
    expected = sim(PROGRAM, *options)
    running = start(PROGRAM, *options, "--cluster", "local:2", "--resume", "kept", stderr=subprocess.PIPE)
    killed = 0
    while killed < 20 and running.poll() is None:
        time.sleep(random_.uniform(0.05, 0.5))
        workers = workers_of(running.pid)
        if workers and len(list(Path("kept").glob("*.block"))) > killed:
            os.kill(random_.choice(workers), signal.SIGKILL)
            killed += 1
    said = running.communicate()[1]
    yield f"out.json after {killed} kills in a run", same(expected, read("out.json"))
    yield (
        "losses of workers that it told of; blocks that ran again",
        f"{said.count(' is gone')}; {said.count('run again')}",
    )


def restart(given: argparse.Namespace) -> Rows:
    """The scheduler and its workers die in a run; others come in their place."""
    options = ("--samples", str(given.samples // 2))
    expected = sim(PROGRAM, *options)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with scheduler(address):
        running = start(PROGRAM, *options, "--cluster", address, "--resume", "kept2", stderr=subprocess.PIPE)
        while running.poll() is None and len(list(Path("kept2").glob("*.block"))) < 8:
            time.sleep(0.1)
    with scheduler(address):
        said = running.communicate()[1]
    yield "out.json after the scheduler was killed and started again", same(expected, read("out.json"))
    yield "what was said", said.strip().splitlines()[0]


def efficiency(given: argparse.Namespace) -> Rows:
    """Two workers with one thread each, one process with one thread, and two such processes that know nothing of each
    other, which is what the machine can do; of two lengths, to tell the start apart."""
    many = min(given.samples, 10_000)  # CIFAR-10's test images
    few = many // 5
    one = [seconds(given.kernels, 1, n, "--threads", "1") for n in (few, many)]
    both = [seconds(given.kernels, 2, n // 2, "--threads", "1") for n in (few, many)]
    two = [seconds(given.kernels, 1, n, "--cluster", "local:2") for n in (few, many)]
    rates = [(many - few) / (more - less) for less, more in (one, both, two)]
    for way, times, rate in zip(("one process", "two processes", "local:2"), (one, both, two), rates, strict=True):
        yield f"{way}, one thread each: {few} and {many} samples", f"{times[0]:.2f} and {times[1]:.2f} s: {rate:.0f}/s"
    yield "efficiency of two unconnected processes", f"{rates[1] / (2 * rates[0]):.3f}"
    yield (
        "efficiency of local:2",
        f"{rates[2] / (2 * rates[0]):.3f}, {rates[2] / rates[1]:.3f} of what the machine can do",
    )
    yield "start of local:2", f"{two[1] - many / rates[2]:.1f} s"


def seconds(kernels: str, processes: int, samples: int, *options: str) -> float:
    """Of the simulation, in as many processes at the same time; of the slowest."""
    environment = os.environ | ({"HMDF_KERNELS": kernels} if kernels else {})
    running = []
    for index in range(processes):
        command = [BIN / "hmdf-sim", PROGRAM, "--json", f"{index}.json", "--samples", str(samples), *options]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment))
    assert not any([one.wait() for one in running])
    return max(read(f"{index}.json")["timing"]["seconds"] for index in range(processes))


def whole(given: argparse.Namespace) -> Rows:
    """The same from the start of the commands to their end, and that the files are equal."""
    samples = min(given.samples, 60_000)  # all images of CIFAR-10
    options, times, found = ("--split", "all", "--samples", str(samples)), [], []
    for more in (("--threads", "1"), ("--cluster", "local:2")):
        began = time.perf_counter()
        found.append(sim(PROGRAM, *options, *more))
        times.append(time.perf_counter() - began)
    yield f"{samples} samples: one process with one thread; local:2", f"{times[0]:.1f} and {times[1]:.1f} s"
    yield "efficiency of local:2, its start included", f"{times[0] / times[1] / 2:.3f}"
    yield "out.json but for timing", same(*found)


def memory(given: argparse.Namespace) -> Rows:
    """Peak memory of the command for class folders of synthetic images, by number of files."""
    program = tiny_program()
    for options in ((), ("--cluster", "local:2"), ("--verify", "reference")):
        peaks = {}
        for count in (given.files // 10, given.files):
            folder = class_folders(Path(f"files{count}"), count)
            sim(program, "--data", str(folder), *options, peak=(peak := []))
            peaks[count] = peak[0]
        (few, low), (many, high) = peaks.items()
        what = f"peak of {' '.join(options) or 'one process'}, {few:,} and {many:,} files"
        yield what, f"{low / 1e6:.0f} and {high / 1e6:.0f} MB: {(high - low) / (many - few):.0f} bytes per file"


def wire(given: argparse.Namespace) -> Rows:
    """Bytes of a sample, tasks per second of a scheduler, and the time of putting blocks together."""
    from distributed import Client, LocalCluster

    from hmdf.sim import storage
    from hmdf.sim.simulator import Simulator
    from hmdf.tools.simulation.blocks import MOST, Block, Totals, pack, run_block, unpack
    from hmdf.tools.simulation.executors import Checks, Verifier
    from hmdf.tools.simulation.feed import Feed
    from hmdf.tools.simulation.kept import content_digest
    from hmdf.train.data import load
    from hmdf.train.data.lazy_images import FittedImages
    from hmdf.train.data.picture_files import load_pictures

    program, data = storage.load(PROGRAM), load("cifar10", "test")
    simulator, block = Simulator(), Block(0, MOST)
    result = run_block(Feed.of(program, data), block, simulator, Verifier(Checks([], 0), simulator))
    packed = pack("0" * 32, block, result)
    images = FittedImages(
        [Path(f"/data/imagenet/val/n01440764/ILSVRC2012_val_{i:08}.JPEG") for i in range(MOST)], (3, 8, 8)
    )
    sent = len(pickle.dumps((images.part(0, MOST), list(range(100_000, 100_000 + MOST)))))
    yield "program, sent once to each worker", f"{PROGRAM.stat().st_size / 1e3:.0f} kB"
    yield f"result of a sample ({len(program.nodes)} layers)", f"{len(packed) / MOST:.0f} bytes"
    yield "reference of an image file", f"{sent / MOST:.0f} bytes"
    blocks, began = 400, time.process_time()
    totals = Totals(program, blocks * MOST)
    for i in range(blocks):
        totals.add(Block(i * MOST, (i + 1) * MOST), unpack(packed, "0" * 32)[1])
    yield "putting a block into the whole", f"{(time.process_time() - began) / blocks * 1e3:.2f} ms of the command"
    folder = class_folders(Path("headers"), 10_000)
    began = time.perf_counter()
    pictures = load_pictures(folder, (1, 8, 8), ())
    yield (
        "reading the header of an image file",
        f"{(time.perf_counter() - began) / 10_000 * 1e6:.0f} us, in the command",
    )
    began = time.perf_counter()
    content_digest(pictures)
    yield (
        "asking for the size and time of a file",
        f"{(time.perf_counter() - began) / 10_000 * 1e6:.0f} us, in the command",
    )
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        client.gather(client.map(_echo, range(100), [packed] * 100, pure=False))
        tasks = 2000
        began = time.process_time()
        client.gather(client.map(_echo, range(tasks), [packed] * tasks, pure=False))
        spent = (time.process_time() - began) / tasks
    yield (
        "scheduler and client, with a packed block each way",
        f"{spent * 1e3:.2f} ms per task, {1 / spent:.0f} tasks/s",
    )


def _echo(_: int, content: bytes) -> bytes:
    return content


# ------------------------------------------------------------------------------- helpers


def start(program: Path, *options: str, **streams: int) -> subprocess.Popen[str]:
    command = [BIN / "hmdf-sim", program, "--json", "out.json", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True, **streams)


def sim(program: Path, *options: str, peak: list[int] | None = None) -> dict:
    """out.json of a run; its peak memory in bytes is appended to `peak`."""
    running = start(program, *options)
    _, status, usage = os.wait4(running.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    running.returncode = 0
    if peak is not None:
        peak.append(usage.ru_maxrss * 1024)
    return read("out.json")


def read(path: str) -> dict:
    return json.loads(Path(path).read_text())


def same(one: dict, other: dict) -> str:
    left, right = ({key: value for key, value in each.items() if key not in TIMING} for each in (one, other))
    return "equal" if json.dumps(left) == json.dumps(right) else "DIFFERENT"


def workers_of(pid: int) -> list[int]:
    """Worker processes that a command has started: those of its children that have workers' command lines."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for file in children for child in file.read_text().split()]
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@contextmanager
def scheduler(address: str) -> Iterator[None]:
    """A scheduler and two workers, until they are killed."""
    port = address.rpartition(":")[2]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    commands = [["scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]]
    commands += [["worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "20"]] * 2
    processes = [subprocess.Popen([BIN / "dask", *command], **quiet) for command in commands]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def class_folders(folder: Path, count: int) -> Path:
    """`count` images of 8 x 8 random greys in ten class folders."""
    if folder.is_dir():
        return folder
    from io import BytesIO

    from PIL import Image

    contents, generator = [], np.random.default_rng(0)
    for _ in range(100):
        buffer = BytesIO()
        Image.fromarray(generator.integers(0, 256, (8, 8), np.uint8)).save(buffer, "png")
        contents.append(buffer.getvalue())
    for index in range(count):
        path = folder / str(index % 10) / f"{index:07}.png"
        if index < 10:
            path.parent.mkdir(parents=True)
        path.write_bytes(contents[index % 100])
    return folder


def tiny_program() -> Path:
    """A small network for 8 x 8 greys, untrained."""
    import torch

    import hmdf
    from hmdf.train.networks import NetworkSpec, build

    torch.manual_seed(0)
    samples = torch.rand(16, 1, 8, 8)
    module = build(NetworkSpec("small", input_shape=(1, 8, 8), classes=10, time_steps=1, width=8))
    hmdf.save(hmdf.compile(module, samples[:1], target="loihi2", calibration=samples).program, "tiny.hmdf")
    return Path("tiny.hmdf")


if __name__ == "__main__":
    main()
