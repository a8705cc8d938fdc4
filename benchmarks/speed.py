"""The speed of the simulator, side by side with what else could run the same network. Prints tables, writes JSON.

Every figure is a median of several rounds; in a round all rivals run one after the other, so that a ratio compares
what the machine could do at the same moment. CIFAR-10 is used where HMDF_DATA has it, else synthetic images.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import children
import networks
import numpy as np
import peak
import rivals
from rich.console import Console
from rich.table import Table

from hmdf.sim import storage
from hmdf.sim.kernels.paths import choose_path, name_of
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator

ROUNDS = 5
OWN_ROUNDS = 11
"""Of the simulator against itself, where differences are a few percent."""
IMAGE_ROUNDS = 101
"""Of one image, which takes a few milliseconds."""
THREADS = min(2, os.cpu_count() or 1)
OUT = Path("build/bench")
RESNET18, RESNET34 = (2, 2, 2, 2), (3, 4, 6, 3)
SAMPLES = 64
ONNX_SAMPLES = 4
LAVA_SAMPLES = 9
INT8_BATCHES = (1, 4, 16, 32)
NEVER, ALWAYS = -1.0, 1.0
"""Shares of non-zero messages up to which convolutions go event by event."""


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    console = Console(width=150)
    program, path, samples, source = resnet18()
    figures: dict[str, Any] = {"machine": machine(), "images": source}
    figures |= against_rivals(program, samples)
    figures |= against_itself(program, samples)
    figures |= against_lava()
    figures |= memory_figures(path) | first_use(path)
    print_figures(console, figures)
    print_details(console, figures)
    tables: dict[str, tuple[str, Callable[[], list[dict]]]] = {
        "growth": ("Cost growth, ResNet-18 on synthetic images", growth),
        "large": ("ResNet-34 at 224x224, T = 4", large),
        "sparsity": ("VGG-SNN on synthetic event frames, 48x48x2, T = 10: convolutions dense or by events", sparsity),
        "compile": ("Compilation, torch network to proven program", compile_times),
    }
    for key, (title, measure) in tables.items():
        figures[key] = measure()
        print_rows(console, title, figures[key])
    beside = OUT / "speed.json.new"
    beside.write_text(json.dumps(figures, indent=1))
    beside.replace(OUT / "speed.json")


def resnet18() -> tuple[Program, Path, np.ndarray, str]:
    """ResNet-18, width 64, 32x32x3, T = 4, ternary, thresholds for spikes on about 20 % of the neurons; its samples."""
    images, source = networks.images(8 + SAMPLES)
    program = networks.resnet(RESNET18, 64, 32, 4, images[:8])
    path = OUT / "resnet18.hmdf"
    storage.save(program, path)
    return program, path, images[8:], source


# ------------------------------------------------------------------- the bars


def against_rivals(program: Program, samples: np.ndarray) -> dict:
    """ResNet-18 against the processor's peak, PyTorch, our exported graph, and onnxruntime's int8 convolutions."""
    macs = total_macs(program)
    ours = Simulator(THREADS)
    float_network = rivals.torch_network(program, THREADS)
    graph = rivals.integer_graph(program, THREADS)
    convolve = rivals.quantised_convolutions(program, THREADS)
    spikes = np.random.default_rng(0).integers(0, 16, (64, 64, 32, 32)).astype(np.uint8)
    batch = best_batch(float_network, samples, (4, 8, 16, 32, 64))
    graph_batch = best_batch(graph, samples, (1, 2, ONNX_SAMPLES))
    rivals_int8 = int8_rivals(program, samples)
    runs: dict[str, Callable[[], object]] = {
        "ours": lambda: ours.simulate(program, samples),
        "torch": lambda: [float_network(samples[i : i + batch]) for i in range(0, len(samples), batch)],
        "onnx": lambda: [graph(samples[i : i + graph_batch]) for i in range(0, ONNX_SAMPLES, graph_batch)],
        "qlinear": lambda: convolve(spikes),
        **rivals_int8,
    }
    rounds = interleaved(runs, ROUNDS, lambda: peak.gigamacs(THREADS))
    # 64 inputs of the int8 chain are 16 samples of 4 steps.
    counts = {"ours": SAMPLES, "torch": SAMPLES, "onnx": ONNX_SAMPLES, "qlinear": len(spikes) / program.time_steps}
    # They have no time: an image of theirs is a time-step of ours.
    counts |= {name: SAMPLES / program.time_steps for name in rivals_int8}
    taken = {name: [t / count for t in rounds[name]] for name, count in counts.items()}
    speed = [macs / t / 1e9 for t in taken["ours"]]
    counters = ours.simulate(program, samples).counters
    density = [c.density() for n, c in counters.populations.items() if n.endswith(("act1", "act2"))]
    return {
        "samples_per_second": 1 / median(taken["ours"]),
        "gigamacs": median(speed),
        "peak_gigamacs": median(rounds["probe"]),
        "spike_density": float(np.mean(density)),
        "fraction_of_peak": ratio(speed, rounds["probe"]),
        "vs_torch": ratio(taken["torch"], taken["ours"]),
        "vs_onnxruntime": ratio(taken["onnx"], taken["ours"]),
        "vs_qlinearconv": ratio(taken["qlinear"], taken["ours"]),
        **{f"vs_{name}": ratio(taken[name], taken["ours"]) for name in rivals_int8},
        "torch_batch": batch,
        "onnxruntime_batch": graph_batch,
        "milliseconds": {name: 1e3 * median(times) for name, times in taken.items()},
    }


def int8_rivals(program: Program, samples: np.ndarray) -> dict[str, Callable[[], object]]:
    """The same network quantised by onnxruntime, on all samples in its best batches; in OpenVINO too where there is."""
    model, images = rivals.quantised_network(program, samples[:8]), rivals.float_images(samples)
    session = rivals.in_onnxruntime(model, THREADS)
    batch = best_batch(session, images, INT8_BATCHES)
    found: dict[str, Callable[[], object]] = {
        "ort_int8": lambda: [session(images[i : i + batch]) for i in range(0, len(images), batch)]
    }
    compiled = {b: run for b in INT8_BATCHES if (run := rivals.in_openvino(model, THREADS, b))}
    if compiled:
        best = best_batch(lambda x: compiled[len(x)](x), images, tuple(compiled))
        found["openvino"] = lambda: [compiled[best](images[i : i + best]) for i in range(0, len(images), best)]
    return found


def against_itself(program: Program, samples: np.ndarray) -> dict:
    """With and without counters, on one thread and on all."""
    two, plain, one = Simulator(THREADS), Simulator(THREADS, counted=False), Simulator(1)
    runs: dict[str, Callable[[], object]] = {
        "two": lambda: two.simulate(program, samples),
        "plain": lambda: plain.simulate(program, samples),
        "one": lambda: one.simulate(program, samples),
    }
    rounds = interleaved(runs, OWN_ROUNDS, lambda: peak.gigamacs(THREADS) / peak.gigamacs(1))
    return {
        "counters_overhead": ratio(rounds["two"], rounds["plain"]),
        "thread_scaling": ratio(rounds["one"], rounds["two"]),
        "peak_scaling": median(rounds["probe"]),
    } | latency(program, samples[:1])


def latency(program: Program, image: np.ndarray) -> dict:
    """One image, on one thread and on all."""
    simulators = {"one": Simulator(1), "two": Simulator(THREADS)}
    rounds = interleaved({n: partial(s.simulate, program, image) for n, s in simulators.items()}, IMAGE_ROUNDS)
    milliseconds = {name: 1e3 * median(rounds[name]) for name in simulators}
    return {"latency_scaling": ratio(rounds["one"], rounds["two"]), "latency_milliseconds": milliseconds}


def against_lava() -> dict:
    """ResNet-18 of width 8, which Lava's own Conv can hold, in Lava and here."""
    images, _ = networks.images(4 + SAMPLES)
    program = networks.resnet(RESNET18, 8, 32, 4, images[:4])
    ours = timed(program, images[4:])["milliseconds"] / 1e3
    started, whole = zip(*(rivals.lava_seconds(program, images[4:], LAVA_SAMPLES, True) for _ in range(3)), strict=True)
    models, models_whole = rivals.lava_seconds(program, images[4:], LAVA_SAMPLES, False)
    return {
        "vs_lava": median(started) / ours,
        "vs_lava_with_start": median(whole) / ours,
        "lava_seconds": median(started),
        "lava_seconds_with_start": median(whole),
        "lava_seconds_our_models": models,
        "lava_seconds_our_models_with_start": models_whole,
        "lava_network_ours_milliseconds": ours * 1e3,
    }


def memory_figures(path: Path) -> dict:
    """Peak memory of a process that simulates 10,000 samples, against one that simulates 500."""
    peaks = {n: children.measured("memory", path, n, THREADS)["bytes"] for n in (500, 10_000)}
    return {"memory_bytes": peaks[500], "memory_growth": peaks[10_000] / peaks[500]}


def first_use(path: Path) -> dict:
    """Seconds to the first result in a fresh process, kernels kept on disk (median) or not yet."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"NUMBA_CACHE_DIR": folder}
        compiling = children.measured("first_use", path, environment=environment)
        cached = [children.measured("first_use", path, environment=environment) for _ in range(ROUNDS)]
    return {
        "first_use_compiling": compiling["simulation"],
        "first_use_cached": median(c["simulation"] for c in cached),
        "first_use_cached_with_imports": median(c["with_imports"] for c in cached),
    }


# ----------------------------------------------------------------- the tables


def growth() -> list[dict]:
    """Time per sample against time-steps, width and batch."""
    rows = []
    images = networks.natural_images(16, 32, seed=3)
    for width, steps in [(64, 1), (64, 2), (64, 4), (64, 8), (16, 4), (32, 4), (128, 4)]:
        program = networks.resnet(RESNET18, width, 32, steps, images[:2])
        rows.append({"width": width, "steps": steps, "batch": len(images), **timed(program, images)})
    program = networks.resnet(RESNET18, 64, 32, 4, images[:2])
    for batch in (1, 4, 64):
        images = networks.natural_images(batch, 32, seed=3)
        rows.append({"width": 64, "steps": 4, "batch": batch, **timed(program, images)})
    return rows


def large() -> list[dict]:
    """ResNet-34 on synthetic images of ImageNet's size."""
    images = networks.natural_images(4, 224)
    program = networks.resnet(RESNET34, 64, 224, 4, images[:1], classes=1000, imagenet_stem=True)
    return [{"batch": batch, **timed(program, images[:batch])} for batch in (1, 4)]


def sparsity() -> list[dict]:
    """VGG-SNN from silent to dense: both ways through its convolutions, and the one that is chosen by the density."""
    rows = []
    for density in (0.01, 0.02, 0.05, 0.1, 0.2, 0.4):
        frames = networks.event_frames(4, 10, 48, density)
        program = networks.vgg_snn(48, 10, frames[:2], density)
        simulators = {
            "dense": Simulator(THREADS, event_share=NEVER),
            "events": Simulator(THREADS, event_share=ALWAYS),
            "chosen": Simulator(THREADS),
        }
        rounds = interleaved({n: partial(s.simulate, program, frames) for n, s in simulators.items()}, ROUNDS)
        counters = simulators["chosen"].simulate(program, frames).counters
        spikes = [c.density() for name, c in counters.populations.items() if name.startswith("spikes")]
        row = {"input_density": float(np.mean(frames != 0)), "spike_density": float(np.mean(spikes))}
        row |= {f"{name}_milliseconds": 1e3 * median(rounds[name]) / len(frames) for name in simulators}
        rows.append(row | {"dense_over_chosen": ratio(rounds["dense"], rounds["chosen"])})
    return rows


def compile_times() -> list[dict]:
    """Seconds and peak memory of the compiler, in a fresh process."""
    rows = []
    for name, size, samples in [("resnet18", 32, 64), ("resnet34", 224, 4)]:
        row = {"network": name, "size": size, "calibration_samples": samples}
        measured = children.measured("compile", name, size, samples)
        row |= {"seconds": measured["seconds"], "peak_megabytes": measured["bytes"] / 1e6}
        rows.append(row | {"before_megabytes": measured["bytes_before"] / 1e6})
    return rows


# ------------------------------------------------------------------ measuring


def interleaved(
    runs: dict[str, Callable[[], object]], rounds: int, probe: Callable[[], float] = lambda: 0.0
) -> dict[str, list[float]]:
    """Seconds of every run, by round, and the probe's value in each round."""
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in (*runs, "probe")}
    for _ in range(rounds):
        seconds["probe"].append(probe())
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(a: list[float], b: list[float]) -> float:
    """Median over the rounds of a / b."""
    return median(x / y for x, y in zip(a, b, strict=True))


def timed(program: Program, samples: np.ndarray) -> dict:
    """Milliseconds per sample, dense-equivalent GMAC/s and its share of the peak, medians."""
    simulator = Simulator(THREADS)
    rounds = interleaved({"run": lambda: simulator.simulate(program, samples)}, ROUNDS, lambda: peak.gigamacs(THREADS))
    macs = total_macs(program) * len(samples)
    speed = [macs / t / 1e9 for t in rounds["run"]]
    milliseconds = 1e3 * median(rounds["run"]) / len(samples)
    return {
        "milliseconds": milliseconds,
        "gigamacs": median(speed),
        "fraction_of_peak": ratio(speed, rounds["probe"]),
    }


def best_batch(run: Callable[[np.ndarray], object], samples: np.ndarray, batches: tuple[int, ...]) -> int:
    """The batch size that takes the least time per sample."""
    seconds = {}
    for batch in batches:
        run(samples[:batch])
        times = []
        for _ in range(3):
            began = time.perf_counter()
            run(samples[:batch])
            times.append(time.perf_counter() - began)
        seconds[batch] = min(times) / batch
    return min(seconds, key=lambda b: seconds[b])


def total_macs(program: Program) -> int:
    """Dense MACs of a sample over all steps."""
    return sum(s.op.taps * prod(program.shapes[s.name]) for s in program.synapses) * program.time_steps


def machine() -> dict:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    path = choose_path()
    kernels = {"kernels": name_of(path), "peak": peak.peak_of(path).instructions}
    return {"processor": model or platform.processor(), "threads": THREADS, **kernels}


# ------------------------------------------------------------------- printing

AT_LEAST, AT_MOST = ">=", "<="
BARS = {
    "fraction_of_peak": (AT_LEAST, 0.60, "dense-equivalent GMAC/s of the whole network / peak of the path x threads"),
    "vs_torch": (AT_LEAST, 4, "times faster than PyTorch float32 of the same folded network, its best batch"),
    "vs_onnxruntime": (AT_LEAST, 20, "times faster than our exported integer graph in onnxruntime, its best batch"),
    "vs_qlinearconv": (AT_LEAST, 1.2, "speed against onnxruntime's QLinearConv of the same convolutions alone"),
    "vs_ort_int8": (AT_LEAST, 1, "per time-step, against the same network quantised and run by onnxruntime"),
    "vs_lava": (AT_LEAST, 1000, "times faster than Lava with its own models, width 8, Lava's start left out"),
    "vs_lava_with_start": (AT_LEAST, 1000, f"the same in a run of {LAVA_SAMPLES} samples, Lava's start counted"),
    "counters_overhead": (AT_MOST, 1.05, "time with all counters / without"),
    "memory_growth": (AT_MOST, 1.05, "peak memory for 10,000 samples / for 500"),
    "thread_scaling": (AT_LEAST, 1.8, "2 threads against 1"),
    "latency_scaling": (AT_LEAST, 1.6, "one image, 2 threads against 1"),
    "first_use_cached": (AT_MOST, 0.5, "seconds from Simulator(1) to the first result in a fresh process"),
    "first_use_compiling": (AT_MOST, 15, "the same when the kernels were never compiled here"),
}


BARS_OF_PATH: dict[str, dict[str, float]] = {
    "amx": {"fraction_of_peak": 0.30, "vs_torch": 4.8},
    "vnni512": {"fraction_of_peak": 0.80, "vs_torch": 4.8},
    "portable": {"fraction_of_peak": 0.20},
}
"""Where a path's bar is another."""


def print_figures(console: Console, figures: dict) -> None:
    machine = figures["machine"]
    about = f"{machine['processor']}, {THREADS} threads, {machine['kernels']}: {machine['peak']}"
    speed = f"{figures['gigamacs']:.0f} of {figures['peak_gigamacs']:.0f} GMAC/s"
    rate = f"{figures['samples_per_second']:.0f} samples/s on {figures['images']}"
    rate += f", spike density {figures['spike_density']:.2f}"
    table = Table("key", "figure", "value", "bar", "", title=f"ResNet-18, T = 4: {rate}, {speed}", caption=about)
    other = BARS_OF_PATH.get(machine["kernels"], {})
    for key, (sense, usual, meaning) in BARS.items():
        bar = other.get(key, usual)
        passed = figures[key] >= bar if sense == AT_LEAST else figures[key] <= bar
        table.add_row(key, meaning, f"{figures[key]:.3g}", f"{sense} {bar:g}", "pass" if passed else "FAIL")
    console.print(table)


def print_details(console: Console, figures: dict) -> None:
    per_sample = ", ".join(f"{name} {value:.3g}" for name, value in figures["milliseconds"].items())
    console.print(
        f"milliseconds per sample: {per_sample} (best batch: torch {figures['torch_batch']}, onnxruntime "
        f"{figures['onnxruntime_batch']})\n"
        f"Lava, ResNet-18 of width 8, seconds per sample: {figures['lava_seconds']:.3g} once it runs, "
        f"{figures['lava_seconds_with_start']:.3g} in a run of {LAVA_SAMPLES} with start and end; with our models of "
        f"Conv {figures['lava_seconds_our_models']:.3g} and {figures['lava_seconds_our_models_with_start']:.3g}; "
        f"here {figures['lava_network_ours_milliseconds']:.3g} ms\n"
        f"one image: {figures['latency_milliseconds']['one']:.3g} ms on one thread, "
        f"{figures['latency_milliseconds']['two']:.3g} on {THREADS}\n"
        f"scaling of the peak itself over the threads: {figures['peak_scaling']:.2f}; first use with all imports: "
        f"{figures['first_use_cached_with_imports']:.2f} s; peak memory: {figures['memory_bytes'] / 1e6:.0f} MB"
    )


def print_rows(console: Console, title: str, rows: list[dict]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else f"{value:.3g}" for value in row.values()))
    console.print(table)


if __name__ == "__main__":
    main()
