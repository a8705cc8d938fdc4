"""Our NeuroBench metrics against the neurobench package itself, on networks of LIF neurons with binary spikes.

    python benchmarks/neurobench_check.py

The package is installed into build/neurobench, without its declared dependencies: of those it needs torch alone for
what is measured here, and that is the one of the environment. Exit status 0 when all figures that are compared agree,
5 when one differs. Writes build/bench/neurobench.json. Where the definitions differ: docs/targets.md.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import hmdf
from hmdf.export.config import Config
from hmdf.hw_targets.events import measured
from hmdf.hw_targets.price.references import neurobench
from hmdf.sim.arithmetic import clamp, integer_range, rshift
from hmdf.sim.contract import INPUT, LeakyIntegrateAndFire, Population, Synapse
from hmdf.sim.encoder import encode
from hmdf.sim.executor import Taps
from hmdf.sim.files import write_whole
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator
from hmdf.train.data import load
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.online import run

PACKAGES = "neurobench==2.3.0", "snntorch==1.0.0", "tqdm==4.70.1"
INSTALLED, OUT = Path("build/neurobench"), Path("build/bench/neurobench.json")
STEPS = 4
NETWORKS = {
    "small, 8x8": NetworkSpec("small", (1, 8, 8), 10, STEPS, width=16, neuron="lif", event=True, pool="max"),
    "vgg-snn, 16x16": NetworkSpec(
        "vgg-snn", (1, 16, 16), 10, STEPS, width=8, neuron="lif", event=True, pool="max", weights="binary"
    ),
}


@click.command(help=__doc__)
@click.option("--samples", default=100, show_default=True, help="Test digits.")
def main(samples: int) -> None:
    install()
    console = Console()
    report = {}
    for name, spec in NETWORKS.items():
        program, frames, labels = network(spec, samples)
        report[name] = compare(program, frames, labels)
        show(console, name, report[name])
    OUT.parent.mkdir(parents=True, exist_ok=True)
    write_whole(OUT, (json.dumps({"packages": PACKAGES, "samples": samples, "networks": report}, indent=2)).encode())
    wrong = [f"{name}: {row['metric']}" for name, rows in report.items() for row in rows if row["verdict"] == "NO"]
    console.print(f"wrote {OUT}; " + (f"DIFFERENT: {', '.join(wrong)}" if wrong else "all that is compared is equal"))
    sys.exit(5 if wrong else 0)


def install() -> None:
    """Install the packages beside the environment, once, and make them importable."""
    if not (INSTALLED / "neurobench").is_dir():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(INSTALLED), *PACKAGES], check=True)
    sys.path.insert(0, str(INSTALLED.resolve()))


def network(spec: NetworkSpec, samples: int) -> tuple[Program, NDArray, NDArray]:
    """An integer program of a network whose normalisations have seen data, with event frames and their labels.

    A pixel of a digit sends a binary spike at each of the steps whose share of the full brightness it exceeds.
    """
    data = load("digits", "test")
    images = np.asarray(data.inputs[:samples], dtype=np.float64).reshape(-1, 1, 8, 8)
    images = np.kron(images / images.max(), np.ones((spec.input_shape[1] // 8, spec.input_shape[2] // 8)))
    brightness = (np.arange(STEPS) + 0.5) / STEPS
    frames = (images[:, None] > brightness[None, :, None, None, None]).astype(np.float64)
    torch.manual_seed(0)
    module = build(spec).train()
    shown = torch.from_numpy(frames[:64]).float()
    with torch.no_grad():
        for _ in range(20):
            run(module, shown, STEPS)
    # Binary messages for the binary input: what a message costs follows from its bits, not from the values it happens
    # to have.
    config = Config(bits={INPUT: 1})
    compilation = hmdf.compile(module.eval(), shown[:1], calibration=frames[:64], target="loihi2", config=config)
    program = compilation.program
    return program, encode(program, frames), np.asarray(data.labels[:samples])


# ----------------------------------------------------------------------------- comparing


def compare(program: Program, frames: NDArray, labels: NDArray) -> list[dict[str, Any]]:
    """A row per metric: ours, theirs and whether they are equal."""
    result = Simulator().simulate(program, frames, labels=labels)
    taps = Simulator().run(program, frames)
    ours = neurobench(program, measured(result.counters))
    theirs, same_spikes = theirs_of(program, frames, labels, taps)
    updates = changed_membranes(program, frames, taps) / len(frames)
    operations = theirs["SynapticOperations"]
    rows = [
        ("spikes of the network", "integers", "the same" if same_spikes else "others", same_spikes),
        ("classification accuracy", result.accuracy, theirs["ClassificationAccuracy"], None),
        # NeuroBench rounds this one to four decimals.
        ("connection sparsity", round(ours.connection_sparsity, 4), theirs["ConnectionSparsity"], None),
        ("activation sparsity", ours.activation_sparsity, theirs["ActivationSparsity"], None),
        *(
            (f"synaptic operations, {name}", getattr(ours.synaptic_operations, name), operations[name], None)
            for name in ("Effective_MACs", "Effective_ACs", "Dense")
        ),
        ("membranes that changed", updates, theirs["MembraneUpdates"], None),
        ("membrane updates", ours.membrane_updates, theirs["MembraneUpdates"], "bound"),
        ("footprint, bytes", ours.footprint, theirs["Footprint"], "differs"),
    ]
    return [{"metric": m, "ours": a, "theirs": b, "verdict": verdict(a, b, known)} for m, a, b, known in rows]


def verdict(ours: Any, theirs: Any, known: bool | str | None) -> str:
    """ "yes" or "NO"; what `known` says where the definitions differ, as long as it is true."""
    if isinstance(known, bool):
        return "yes" if known else "NO"
    if known == "bound":
        return "ours: bound" if ours >= theirs else "NO"
    if known == "differs":
        return "not compared"
    return "yes" if np.isclose(ours, theirs, rtol=1e-6, atol=0) else "NO"


def theirs_of(program: Program, frames: NDArray, labels: NDArray, taps: Taps) -> tuple[dict[str, Any], bool]:
    """What NeuroBench measures on the mirrored program, and whether all its spikes are those of the simulator."""
    mirror = importlib.import_module("mirror")
    static = importlib.import_module("neurobench.metrics.static")
    workload = importlib.import_module("neurobench.metrics.workload")
    module = mirror.Mirror(program)
    model = importlib.import_module("neurobench.models").SNNTorchModel(module)
    samples = torch.utils.data.TensorDataset(torch.from_numpy(frames.astype(np.float64)), torch.from_numpy(labels))
    metrics = [
        [static.Footprint, static.ConnectionSparsity],
        [
            workload.ClassificationAccuracy,
            workload.ActivationSparsity,
            workload.SynapticOperations,
            workload.MembraneUpdates,
        ],
    ]
    benchmark = importlib.import_module("neurobench.benchmarks").Benchmark(
        model, torch.utils.data.DataLoader(samples, batch_size=len(frames)), [], [classes_of], metrics
    )
    with torch.no_grad():
        results = benchmark.run(quiet=True)
    sent = {name: torch.stack(steps, dim=1).numpy() for name, steps in module.sent.items()}
    return results, all(np.array_equal(sent[name], messages) for name, messages in taps.messages.items())


def classes_of(accumulators: torch.Tensor) -> torch.Tensor:
    """The class of each sample from the read-out's accumulators (N, T, classes)."""
    return accumulators.sum(dim=1).argmax(dim=1)


def changed_membranes(program: Program, frames: NDArray, taps: Taps) -> int:
    """Neurons whose membrane another step left with another value, all of the first step included: NeuroBench's count.

    Computed from the messages that the simulator sent, by the equations of docs/numerics.md.
    """
    sent = {INPUT: frames.astype(np.int64), **{name: m.astype(np.int64) for name, m in taps.messages.items()}}
    low, high = integer_range(program.state_bits, signed=True)
    changed = 0
    for population in program.populations:
        dynamics = population.dynamics
        if not isinstance(dynamics, LeakyIntegrateAndFire):
            continue
        before = np.zeros((len(frames), *population.shape), np.int64)
        for t in range(program.time_steps):
            leak, threshold = at(dynamics.leak, t, population), at(dynamics.threshold, t, population)
            charged = rshift(leak * before, dynamics.leak_shift) + current(program, population, sent, t)
            after = clamp(charged, low, high) - sent[population.name][:, t] * threshold
            changed += after.size if t == 0 else int(np.count_nonzero(after != before))
            before = after
    return changed


def current(program: Program, population: Population, sent: dict[str, NDArray], t: int) -> NDArray:
    low, high = integer_range(program.state_bits, signed=True)
    total = at(population.bias, t, population)
    for port in population.ports:
        node = program.by_name.get(port.source)
        taken = node.op.accumulate(sent[node.source][:, t]) if isinstance(node, Synapse) else sent[port.source][:, t]
        total = total + rshift(at(port.multiplier, t, population) * taken, port.shift)
    return clamp(total, low, high)


def at(array: NDArray, t: int, population: Population) -> NDArray:
    """A parameter (T or 1, C or 1) at a step, ready to meet (N, C, ...)."""
    return array[t % len(array)].astype(np.int64).reshape(1, -1, *(1,) * (len(population.shape) - 1))


def show(console: Console, name: str, rows: list[dict[str, Any]]) -> None:
    console.print(f"\n{name}", style="bold")
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("per sample", "ours", "NeuroBench", "equal"):
        grid.add_column(column, justify="left" if column in ("per sample", "equal") else "right", no_wrap=True)
    for row in rows:
        grid.add_row(row["metric"], cell(row["ours"]), cell(row["theirs"]), row["verdict"])
    console.print(grid)


def cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.4f}" if value < 1 else f"{value:,.1f}"


if __name__ == "__main__":
    main()
