"""Memory and time of training, and of running a float network with all time-steps in one batch. Table and JSON.

    python benchmarks/training.py

ResNet-18 of width 32 on 32x32 images, ternary weights, 4-bit spikes, MPBN, in the trainer that hmdf-train uses. Every
figure is a median of several rounds; in a round all rivals run one after the other.

Time is processor time of one thread: what an idle machine takes, whatever else runs on this one.

Memory is measured in a process of its own for every figure, in two ways. *Resident*: the peak of the resident set less
what was resident before the first mini-batch; the model is left out on both sides, which makes the growth look larger,
never smaller. Every process trains for the same number of time-steps, so that its heap has had the same time to become
fragmented. *Tensors*: the most bytes that torch had allocated at one moment of a mini-batch, which has no noise.
"""

from __future__ import annotations

import copy
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from training_rivals import plain_torch, spikingjelly

from hmdf.train.batches import MiniBatch, Part
from hmdf.train.config import TrainingConfig
from hmdf.train.data import Dataset, Preprocessing
from hmdf.train.fused import cpu
from hmdf.train.networks import NetworkSpec
from hmdf.train.online import run, run_folded
from hmdf.train.progress import Progress
from hmdf.train.synapses import quantised_once
from hmdf.train.trainer import TrainingRun

ROUNDS = 5
OUT = Path("build/bench/training.json")
STEPS = 4
BATCH = 32
WIDTH = 32
SHORT, LONG = 2, 16
INFERENCE_BATCHES = (1, 4, 32)
BACKPROP = ("every", "random", "stbp")
# Memory of training in slices of K steps: (T, K).
SLICES = ((4, 2), (16, 2), (8, 2), (8, 4), (8, 8))
# Rounds of two kinds of steps, fused operators, rivals, each size of inference, and the processes that measure memory.
MEASUREMENTS = ROUNDS * (3 + 2 * len(INFERENCE_BATCHES) + 2 * len(BACKPROP) + len(SLICES))
Advance = Callable[[str], None]
STATUS = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")


def main() -> None:
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar() as advance:
        figures = {"machine": machine(), **time_figures(advance), **memory_figures(advance)}
    print_figures(Console(width=150), figures)
    beside = OUT.with_suffix(".json.new")
    beside.write_text(json.dumps(figures, indent=1))
    beside.replace(OUT)


@contextmanager
def progress_bar() -> Iterator[Advance]:
    """A bar over all measurements on the error output, of as many rounds as there are; yields what moves it."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    bar = Bar(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
    task = bar.add_task("", total=MEASUREMENTS)

    def advance(what: str) -> None:
        bar.update(task, advance=1, description=what)
        if not console.is_terminal:
            console.print(f"{bar.tasks[0].completed:.0f}/{MEASUREMENTS} {what}", highlight=False)

    with bar:
        yield advance


def time_figures(advance: Advance) -> dict[str, Any]:
    """Iterations with one differentiated step against all of them; inference step by step against folded."""
    runs = {
        (parallel, backprop): training_run(backprop, STEPS, parallel)
        for parallel in ("none", "all")
        for backprop in ("every", "random")
    }
    trains = {key: iterations_of(this_run) for key, this_run in runs.items()}
    seconds = interleaved({key: (lambda train=train: train()) for key, train in trains.items()}, "iterations", advance)
    every, random, every_parallel, random_parallel = (
        [value / len(draws(key[1])) for value in values] for key, values in seconds.items()
    )
    return {
        **fused_figures(advance),
        "random_speedup": ratio(every, random),
        "random_parallel_speedup": ratio(every_parallel, random_parallel),
        "iteration_seconds": {
            "every": median(every),
            "random": median(random),
            "every_parallel": median(every_parallel),
            "random_parallel": median(random_parallel),
        },
        **inference_figures("parallel", runs["all", "every"].model, advance),
        **inference_figures("default_block", training_run("random", STEPS, "second", "plain").model, advance),
        **rival_figures(advance),
    }


def rival_figures(advance: Advance) -> dict[str, Any]:
    """The paper's algorithm here (plain neurons, the second of each block parallel, one random step) and in a plain
    PyTorch loop, STBP of LIF neurons in SpikingJelly and here: the same network, width, steps and mini-batch.
    """
    rivals = {"plain_torch": plain_torch, "spikingjelly": spikingjelly}
    stbp = iterations_of(training_run("stbp", STEPS, "none", "lif"))
    works: dict[str, Callable[[], None]] = {
        "ours": iterations_of(training_run("random", STEPS, "second", "plain")),
        "ours_stbp": lambda: all_draws(lambda _draw: stbp()),
    }
    for name, rival in rivals.items():
        works[name] = partial(all_draws, rival(WIDTH, STEPS, *noise()))
    seconds = interleaved(works, "rivals", advance)
    peaks = {name: most_allocated(work) for name, work in works.items()}
    return {
        **{f"vs_{name}": ratio(seconds[name], seconds["ours"]) for name in rivals},
        "stbp_vs_spikingjelly": ratio(seconds["spikingjelly"], seconds["ours_stbp"]),
        **{f"memory_vs_{name}": peaks[name] / peaks["ours"] for name in rivals},
        "rival_seconds": {name: median(values) / STEPS for name, values in seconds.items()},
    }


def all_draws(train: Callable[[int], None]) -> None:
    for draw in draws("random"):
        train(draw)


def noise() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(BATCH) % 10


def fused_figures(advance: Advance) -> dict[str, Any]:
    """PyTorch's operators against the functions of `hmdf.train.fused.cpu`, and these against themselves in bfloat16:
    plain neurons, the second of each block parallel, one random step.
    """
    train = iterations_of(training_run("random", STEPS, "second", "plain"))
    mixed = iterations_of(training_run("random", STEPS, "second", "plain", precision="bf16-mixed"))

    def with_operators() -> None:
        fits, cpu.fits = cpu.fits, lambda x: False
        try:
            train()
        finally:
            cpu.fits = fits

    seconds = interleaved({"operators": with_operators, "fused": train, "mixed": mixed}, "fused operators", advance)
    return {
        "fused_speedup": ratio(seconds["operators"], seconds["fused"]),
        "bfloat16_speedup": ratio(seconds["fused"], seconds["mixed"]),
    }


def training_run(
    backprop: str,
    time_steps: int,
    parallel: str,
    neuron: str = "mpbn",
    length: int = 2,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
) -> TrainingRun:
    """A training of the trainer, ready for its first mini-batch; ``length`` of slices."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (BATCH, 3, 32, 32), dtype=np.uint8)
    names = tuple(str(label) for label in range(10))
    preprocessing = Preprocessing(255.0, (0.5,), (0.25,))
    data = Dataset(images, np.arange(BATCH) % 10, names, preprocessing, "noise", "train")
    spec = NetworkSpec("resnet18", (3, 32, 32), 10, time_steps, width=WIDTH, neuron=neuron, parallel=parallel)  # type: ignore[arg-type]
    config = TrainingConfig(batch_size=BATCH, backprop=backprop, slice=length, learning_rate=0.01)  # type: ignore[arg-type]
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    this_run = TrainingRun(fabric, spec, config, data, data, None, Progress(), np.inf)
    this_run.model.train()
    return this_run


def draws(backprop: str) -> range:
    """The draws that make up one measurement: random BP takes longer the later the drawn step."""
    return range(STEPS if backprop == "random" else 1)


def iterations_of(this_run: TrainingRun) -> Callable[[], None]:
    """One mini-batch for each draw."""
    batches = [mini_batch(this_run.train_data, draw) for draw in draws(this_run.config.backprop)]

    def iterate() -> None:
        for batch in batches:
            this_run.train_on(batch)

    return iterate


def mini_batch(data: Dataset, draw: int) -> MiniBatch:
    part = Part(torch.from_numpy(data.inputs), torch.from_numpy(data.labels), 0)
    return MiniBatch(0, 0, len(data), (part,), draw)


def inference_figures(kind: str, model: torch.nn.Module, advance: Advance) -> dict[str, Any]:
    """Step by step against layer by layer, all steps in one batch but for neurons with a membrane."""
    model.eval()
    x = torch.randn(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    speedups = {}
    with torch.no_grad(), quantised_once(model):
        for size in INFERENCE_BATCHES:
            samples, repeats = x[:size], BATCH // size
            seconds = interleaved(
                {
                    "sequential": lambda samples=samples, n=repeats: [run(model, samples, STEPS) for _ in range(n)],
                    "folded": lambda samples=samples, n=repeats: [run_folded(model, samples, STEPS) for _ in range(n)],
                },
                f"inference at batch {size}",
                advance,
            )
            speedups[size] = ratio(seconds["sequential"], seconds["folded"])
    return {
        f"{kind}_inference_speedup": speedups[1],
        f"{kind}_inference_speedups": speedups,
        f"{kind}_difference": difference(model, x),
        f"{kind}_difference_double": difference(copy.deepcopy(model).double(), x.double()),
    }


def difference(model: torch.nn.Module, x: torch.Tensor) -> float:
    """The largest difference of any logit at any step between sequential and folded, samples alone and together."""
    with torch.no_grad(), quantised_once(model):
        pairs = [(run(model, part, STEPS), run_folded(model, part, STEPS)) for part in (x[:1], x[1:8], x[8:])]
    return max(float((a - b).abs().max()) for a, b in pairs)


def interleaved(runs: dict[Any, Callable[[], object]], what: str, advance: Advance) -> dict[Any, list[float]]:
    """Processor seconds of every run, by round."""
    for warm_up in runs.values():
        warm_up()
    seconds: dict[Any, list[float]] = {key: [] for key in runs}
    for _ in range(ROUNDS):
        for key, rival in runs.items():
            began = time.process_time()
            rival()
            seconds[key].append(time.process_time() - began)
        advance(what)
    return seconds


def ratio(a: list[float], b: list[float]) -> float:
    """Median over the rounds of a / b."""
    return median(x / y for x, y in zip(a, b, strict=True))


def memory_figures(advance: Advance) -> dict[str, Any]:
    """Peak memory with T = 16 against T = 2, and in slices, each in its own process."""
    kinds = [(b, t, 0) for b in BACKPROP for t in (SHORT, LONG)] + [("slices", t, k) for t, k in SLICES]
    rounds: dict[tuple[str, int, int], list[dict[str, int]]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for (backprop, steps, length), found in rounds.items():
            command = [sys.executable, __file__, "memory", backprop, str(steps), str(length or 2)]
            found.append(json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL)))
            advance(f"memory of {backprop} at T = {steps}")
    peaks = {
        kind: {key: median(one[kind] for one in found) for key, found in rounds.items()}
        for kind in ("resident", "tensors")
    }
    growth = {kind: {b: peak[b, LONG, 0] / peak[b, SHORT, 0] for b in BACKPROP} for kind, peak in peaks.items()}
    sliced = {kind: {key[1:]: size for key, size in peak.items() if key[2]} for kind, peak in peaks.items()}
    return {
        "slices_memory_growth": sliced["resident"][16, 2] / sliced["resident"][4, 2],
        "slices_tensor_growth": sliced["tensors"][16, 2] / sliced["tensors"][4, 2],
        "slices_4_over_2": sliced["tensors"][8, 4] / sliced["tensors"][8, 2],
        "slices_8_over_2": sliced["tensors"][8, 8] / sliced["tensors"][8, 2],
        "online_memory_growth": growth["resident"]["every"],
        "random_memory_growth": growth["resident"]["random"],
        "stbp_memory_growth": growth["resident"]["stbp"],
        "online_tensor_growth": growth["tensors"]["every"],
        "random_tensor_growth": growth["tensors"]["random"],
        "stbp_tensor_growth": growth["tensors"]["stbp"],
        "memory_bytes": {
            f"{b} T={t}{f' K={k}' if k else ''} {kind}": size
            for kind, peak in peaks.items()
            for (b, t, k), size in peak.items()
        },
    }


def measure_memory(backprop: str, steps: int, length: int) -> None:
    """Train for 32 time-steps and print the peaks as JSON; random BP draws the last step, which needs the most."""
    this_run = training_run(backprop, steps, "none", length=length)
    batch = mini_batch(this_run.train_data, steps - 1)
    torch.nn.functional.conv2d(torch.zeros(1, 3, 8, 8), torch.zeros(3, 3, 3, 3))  # loads what a convolution loads
    before = in_status("VmRSS")
    RESET_PEAK.write_text("5")
    for _ in range(32 // steps):
        this_run.train_on(batch)
    resident = in_status("VmHWM") - before
    print(json.dumps({"resident": resident, "tensors": most_allocated(lambda: this_run.train_on(batch))}))


def in_status(key: str) -> int:
    """Bytes, from Linux's account of this process."""
    found = re.search(rf"^{key}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def most_allocated(work: Callable[[], None]) -> int:
    """The most bytes of tensors, made during ``work``, that there were at one moment."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            work()
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    return max(event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]")


def machine() -> dict[str, Any]:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {"processor": found[1] if found else platform.processor(), "threads": 1, "torch": torch.__version__}


BARS = {
    "online_memory_growth": ("<= 1.15", "peak training memory T = 16 / T = 2, online (every), resident"),
    "online_tensor_growth": ("<= 1.15", "the same, tensors alone"),
    "random_memory_growth": ("", "the same, one random step, resident"),
    "random_tensor_growth": ("", "the same, tensors alone"),
    "stbp_memory_growth": ("", "the same, full unroll (STBP), resident"),
    "stbp_tensor_growth": ("", "the same, tensors alone"),
    "slices_memory_growth": ("<= 1.15", "the same, slices of 2 steps, T = 16 / T = 4, resident"),
    "slices_tensor_growth": ("<= 1.15", "the same, tensors alone"),
    "slices_4_over_2": ("", "slices of 4 / of 2 steps, T = 8, tensors alone"),
    "slices_8_over_2": ("", "slices of 8 / of 2 steps, T = 8, tensors alone"),
    "random_speedup": (">= 1.7", "time of an iteration, every / random, T = 4"),
    "random_parallel_speedup": (">= 2.2", "the same with all-parallel neurons"),
    "fused_speedup": ("", "time of an iteration, PyTorch's operators / fused, plain neurons, second parallel"),
    "bfloat16_speedup": ("", "the same, fused in 32 bits / in bfloat16 (--precision bf16-mixed)"),
    "vs_plain_torch": (">= 1.5", "time of an iteration, a plain PyTorch loop of the same algorithm / ours"),
    "vs_spikingjelly": (">= 1.5", "SpikingJelly, STBP of LIF neurons / ours, random BP"),
    "stbp_vs_spikingjelly": ("", "the same algorithm here: SpikingJelly / ours, both STBP of LIF neurons"),
    "memory_vs_plain_torch": ("", "most bytes of tensors in a mini-batch, plain PyTorch / ours"),
    "memory_vs_spikingjelly": ("", "the same, SpikingJelly / ours"),
    "parallel_inference_speedup": (
        ">= 1.1",
        "inference time, step by step / layer by layer, all parallel, single samples",
    ),
    "default_block_inference_speedup": ("", "the same, plain neurons, the second of each block parallel"),
    "parallel_difference": ("<= 1e-6", "largest difference of a logit, sequential and folded"),
    "parallel_difference_double": ("<= 1e-6", "the same in double precision"),
}


def print_figures(console: Console, figures: dict[str, Any]) -> None:
    about = f"{figures['machine']['processor']}, one thread, batch {BATCH}"
    table = Table("key", "figure", "value", "bar", title=f"ResNet-18 of width 32, {about}")
    for key, (bar, meaning) in BARS.items():
        table.add_row(key, meaning, f"{figures[key]:.3g}", bar)
    console.print(table)
    for kind in ("parallel", "default_block"):
        speedups = figures[f"{kind}_inference_speedups"]
        by_batch = ", ".join(f"{speed:.2f} at batch {n}" for n, speed in speedups.items())
        console.print(f"inference, {kind.replace('_', ' ')}, step by step / layer by layer: {by_batch}")
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in figures["iteration_seconds"].items())
    console.print(f"an iteration: {seconds}")
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in figures["rival_seconds"].items())
    console.print(f"an iteration of the paper's algorithm, and rivals: {seconds}")
    for kind in ("resident", "tensors"):
        peaks = {k: v for k, v in figures["memory_bytes"].items() if k.endswith(kind)}
        listed = ", ".join(f"{key.removesuffix(' ' + kind)} {value / 2**20:.0f} MiB" for key, value in peaks.items())
        console.print(f"peak memory, {kind}: {listed}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["memory"]:
        measure_memory(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
