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
    figures = {"machine": machine(), **main_figures(program, console), **memory_figures(path)}
    print_figures(console, figures)
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


def machine() -> dict:
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return {"processor": model or platform.processor(), "threads": THREADS}


BARS = {
    "fraction_of_peak": (">= 0.50", "dense-equivalent GMAC/s of the whole network / peak of vpdpbusd x threads"),
    "vs_torch": (">= 3", "times faster than PyTorch float32 of the same folded network"),
    "vs_qlinearconv": (">= 0.6", "speed against onnxruntime's QLinearConv of the same convolutions alone"),
    "counters_overhead": ("<= 1.05", "time with all counters / without"),
    "memory_growth": ("<= 1.05", "peak memory for 10,000 samples / for 500"),
    "thread_scaling": (">= 1.8", "2 threads against 1"),
}


def print_figures(console: Console, figures: dict) -> None:
    about = f"{figures['machine']['processor']}, {THREADS} threads"
    speed = f"{figures['gigamacs']:.0f} of {figures['peak_gigamacs']:.0f} GMAC/s"
    rate = f"{figures['samples_per_second']:.0f} samples/s at spike density {figures['spike_density']:.2f}"
    table = Table("key", "figure", "value", "bar", title=f"ResNet-18, T = 4, {about}: {rate}, {speed}")
    for key, (bar, meaning) in BARS.items():
        table.add_row(key, meaning, f"{figures[key]:.3g}", bar)
    console.print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        measure_memory(sys.argv[2], int(sys.argv[3]))
    else:
        main()
