"""The speed of the simulator, side by side with what else could run the same network. Prints tables, writes JSON.

Every figure is a median of several rounds; in a round all rivals run one after the other, so that a ratio compares
what the machine could do at the same moment.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import networks
import numpy as np
import peak
import rivals
from rich.console import Console
from rich.table import Table

from hmdf.sim import storage
from hmdf.sim.counters import dense_macs
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator

ROUNDS = 5
THREADS = min(2, os.cpu_count() or 1)
OUT = Path("build/bench")
CIFAR_BLOCKS = (2, 2, 2, 2)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    console = Console()
    program, path = resnet18()
    figures = {"machine": machine(), **main_figures(program, console), **memory_figures(path), **first_use(path)}
    print_figures(console, figures)
    figures["growth"] = growth()
    print_rows(console, "Cost growth, ResNet-18", figures["growth"])
    figures["sparsity"] = sparsity()
    print_rows(console, "VGG-SNN on event frames, 48x48x2, T = 10", figures["sparsity"])
    beside = OUT / "speed.json.new"
    beside.write_text(json.dumps(figures, indent=1))
    beside.replace(OUT / "speed.json")


def resnet18() -> tuple[Program, Path]:
    """ResNet-18, width 64, 32x32x3, T = 4, ternary, thresholds for spikes on about 20 % of the neurons."""
    program = networks.resnet(CIFAR_BLOCKS, 64, 32, 4, networks.natural_images(4, 32))
    path = OUT / "resnet18.hmdf"
    storage.save(program, path)
    return program, path


def main_figures(program: Program, console: Console) -> dict:
    """ResNet-18 against the processor's peak, PyTorch and onnxruntime's int8 convolutions."""
    samples = networks.natural_images(64, 32, seed=9)
    macs = total_macs(program)
    one, two, plain = Simulator(1), Simulator(THREADS), Simulator(THREADS, counted=False)
    float_network = rivals.torch_network(program, THREADS)
    convolve = rivals.quantised_convolutions(program, THREADS)
    spikes = np.random.default_rng(0).integers(0, 16, (64, 64, 32, 32)).astype(np.uint8)
    batch = best_batch(float_network, samples)
    runs: dict[str, Callable[[], object]] = {
        "two": lambda: two.simulate(program, samples),
        "plain": lambda: plain.simulate(program, samples),
        "one": lambda: one.simulate(program, samples),
        "torch": lambda: [float_network(samples[i : i + batch]) for i in range(0, len(samples), batch)],
        "qlinear": lambda: convolve(spikes),
    }
    rounds = interleaved(runs, lambda: peak.gigamacs(THREADS))
    counters = two.simulate(program, samples).counters
    density = [c.density() for n, c in counters.populations.items() if n.endswith(("act1", "act2"))]
    per_sample = {name: [t / len(samples) for t in times] for name, times in rounds.items() if name != "probe"}
    # 64 inputs of the int8 chain are 16 samples of 4 steps.
    per_sample["qlinear"] = [t / (len(spikes) / program.time_steps) for t in rounds["qlinear"]]
    speed = [macs / t / 1e9 for t in per_sample["two"]]
    return {
        "samples_per_second": 1 / median(per_sample["two"]),
        "gigamacs": median(speed),
        "peak_gigamacs": median(rounds["probe"]),
        "spike_density": float(np.mean(density)),
        "fraction_of_peak": ratio(speed, rounds["probe"]),
        "vs_torch": ratio(per_sample["torch"], per_sample["two"]),
        "torch_batch": batch,
        "vs_qlinearconv": ratio(per_sample["qlinear"], per_sample["two"]),
        "counters_overhead": ratio(per_sample["two"], per_sample["plain"]),
        "thread_scaling": ratio(per_sample["one"], per_sample["two"]),
    }


def interleaved(runs: dict[str, Callable[[], object]], probe: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of every run, by round, and the probe's value in each round."""
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in (*runs, "probe")}
    for _ in range(ROUNDS):
        seconds["probe"].append(probe())
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(a: list[float], b: list[float]) -> float:
    """Median over the rounds of a / b."""
    return median(x / y for x, y in zip(a, b, strict=True))


def total_macs(program: Program) -> int:
    """Dense MACs of a sample over all steps."""
    return sum(dense_macs(s, program.shapes[s.name]) for s in program.synapses) * program.time_steps


def best_batch(run: Callable[[np.ndarray], object], samples: np.ndarray) -> int:
    """The batch size, of 4 to 64, that takes the least time per sample."""
    seconds = {}
    for batch in (4, 8, 16, 32, 64):
        run(samples[:batch])
        times = []
        for _ in range(3):
            began = time.perf_counter()
            run(samples[:batch])
            times.append(time.perf_counter() - began)
        seconds[batch] = min(times) / batch
    return min(seconds, key=lambda b: seconds[b])


def memory_figures(path: Path) -> dict:
    """Peak memory of a process that simulates 10,000 samples, against one that simulates 500."""
    peaks = {
        n: int(subprocess.check_output([sys.executable, __file__, "memory", str(path), str(n)])) for n in (500, 10_000)
    }
    return {"memory_bytes": peaks[500], "memory_growth": peaks[10_000] / peaks[500]}


def measure_memory(path: str, samples: int) -> None:
    program = storage.load(path)
    images = networks.natural_images(100, program.input.shape[1])
    Simulator(THREADS).simulate(program, (images for _ in range(samples // len(images))))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def first_use(path: Path) -> dict:
    """Seconds from the first import to the first result in a fresh process, kernels kept on disk or not yet."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for key in ("first_use_compiling", "first_use_cached"):
            command = [sys.executable, __file__, "first", str(path)]
            seconds[key] = float(subprocess.check_output(command, env={**os.environ, "NUMBA_CACHE_DIR": folder}))
    return seconds


def measure_first_use(path: str) -> None:
    program = storage.load(path)
    images = networks.natural_images(1, program.input.shape[1])
    began = time.perf_counter()
    Simulator(1).simulate(program, images)
    print(time.perf_counter() - began)


def growth() -> list[dict]:
    """Time per sample against time-steps, width and batch."""
    rows = []
    images = networks.natural_images(16, 32, seed=3)
    for width, steps in [(64, 1), (64, 2), (64, 4), (64, 8), (16, 4), (32, 4), (128, 4)]:
        program = networks.resnet(CIFAR_BLOCKS, width, 32, steps, images[:2])
        rows.append({"width": width, "steps": steps, "batch": len(images), **timed(program, images)})
    program = networks.resnet(CIFAR_BLOCKS, 64, 32, 4, images[:2])
    for batch in (1, 4, 64):
        images = networks.natural_images(batch, 32, seed=3)
        rows.append({"width": 64, "steps": 4, "batch": batch, **timed(program, images)})
    return rows


def sparsity() -> list[dict]:
    """VGG-SNN from 1 % to 30 % of spikes: where convolutions go event by event, and what it gains."""
    rows = []
    for density in (0.01, 0.03, 0.1, 0.3):
        frames = networks.event_frames(8, 10, 48, density)
        program = networks.vgg_snn(48, 10, frames[:3], density)
        counters = Simulator(THREADS).simulate(program, frames).counters
        measured = [c.density() for name, c in counters.populations.items() if name.startswith("spikes")]
        rows.append({"wanted": density, "spike_density": float(np.mean(measured)), **timed(program, frames)})
    return rows


def timed(program: Program, samples: np.ndarray) -> dict:
    """Milliseconds per sample and dense-equivalent GMAC/s, medians."""
    simulator, seconds = Simulator(THREADS), []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        simulator.simulate(program, samples)
        seconds.append((time.perf_counter() - began) / len(samples))
    taken = median(seconds[1:])
    return {"milliseconds": taken * 1e3, "gigamacs": total_macs(program) / taken / 1e9}


def machine() -> dict:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return {"processor": model or platform.processor(), "threads": THREADS}


BARS = {
    "fraction_of_peak": (">= 0.50", "dense-equivalent GMAC/s of the whole network / peak of vpdpbusd x threads"),
    "vs_torch": (">= 3", "times faster than PyTorch float32 of the same folded network"),
    "vs_qlinearconv": (">= 0.6", "speed against onnxruntime's QLinearConv of the same convolutions alone"),
    "counters_overhead": ("<= 1.05", "time with all counters / without"),
    "memory_growth": ("<= 1.05", "peak memory for 10,000 samples / for 500"),
    "thread_scaling": (">= 1.8", "2 threads against 1"),
    "first_use_cached": ("<= 0.5", "seconds to the first result in a fresh process"),
    "first_use_compiling": ("<= 15", "the same when the kernels were never compiled here"),
}


def print_figures(console: Console, figures: dict) -> None:
    about = f"{figures['machine']['processor']}, {THREADS} threads"
    speed = f"{figures['gigamacs']:.0f} of {figures['peak_gigamacs']:.0f} GMAC/s"
    rate = f"{figures['samples_per_second']:.0f} samples/s at spike density {figures['spike_density']:.2f}"
    table = Table("key", "figure", "value", "bar", title=f"ResNet-18, T = 4, {about}: {rate}, {speed}")
    for key, (bar, meaning) in BARS.items():
        table.add_row(key, meaning, f"{figures[key]:.3g}", bar)
    console.print(table)


def print_rows(console: Console, title: str, rows: list[dict]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value:.3g}" for value in row.values()))
    console.print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        measure_memory(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["first"]:
        measure_first_use(sys.argv[2])
    else:
        main()
