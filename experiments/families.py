"""The two families of neurons beside each other: on every chip, and trained under one budget.

    python -m experiments.families chips docs/lm-h.md
    python -m experiments.families run --out build/families
    python -m experiments.families table --out build/families

The first puts the table of chips into a document: one network of each family, and what does not fit. The network takes
binary events and has strided ternary convolutions, so that nothing but the neurons decides whether a message is binary:
HM-DF's spikes have 4 bits, LM-H's one. "LM-H at its start" has the factors with which training starts, those of an
integrate-and-fire neuron. Untrained, its BatchNorms have seen random events. For chips without multipliers it is
compiled with --absorb-multipliers.

The second trains, compiles and simulates what RUNS lists, each with the commands of the package on one thread; what is
finished is kept, and the same command goes on where the last one was stopped. Time and memory of training are measured
apart, in a process that trains on a few mini-batches: processor time, and the most that was resident above what was
before. The third prints what is there.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn

import hmdf
from experiments.ablation.run import Meter, first, shrunk, warm_up
from hmdf.export.compiler import registers_of
from hmdf.export.config import Config
from hmdf.hw_targets.judge.fit import check
from hmdf.hw_targets.target import load_target, target_names
from hmdf.sim.program import Program
from hmdf.tools.inputs import load_data
from hmdf.train import checkpoint
from hmdf.train.config import TrainingConfig
from hmdf.train.neurons import GradedSpike, HybridFiring, MultiHierarchical, Neuron, reset, set_step
from hmdf.train.synapses import TernaryConv2d, TernaryLinear
from hmdf.train.trainer import train

T, CHANNELS, SIZE = 4, 8, 16
FAMILIES = "HM-DF", "LM-H", "LM-H at its start"
FACTORS = {"dendrite_leak": 0.2, "dendrite_feedback": -0.1, "soma_leak": 0.9, "soma_drive": 1.1}
"""Of the LM-H network: any that are not those of the start."""
SMALL = "--data mnist --net small --crop 2 --label-smoothing 0.1 --epochs 20"
HM_DF = "--optimizer muon --neuron plain --parallel second --spike-lsb 0.5 --backprop random"
RESNET = "--data {out}/cifar16.npz --net resnet20 --weights float --crop 2 --flip --norm each"
DIGITS = "--data digits --net small --neuron lm-h --backprop stbp --norm time --epochs 20"
RUNS = {
    "digits-lm-h": f"{DIGITS} --optimizer muon",
    "digits-lm-h-float": f"{DIGITS} --weights float",
    "mnist-hm-df": f"{SMALL} {HM_DF}",
    "mnist-hm-df-sparse": f"{SMALL} {HM_DF} --sparsify 0.05",
    "mnist-lm-h": f"{SMALL} --optimizer muon --neuron lm-h --backprop stbp --norm time",
    "mnist-lm-h-float": f"{SMALL} --weights float --neuron lm-h --backprop stbp --norm time",
    "cifar-qcfs": f"{RESNET} --neuron qcfs --levels 4 --threshold 2 --epochs 16",
    "cifar-hybrid": "--data {out}/cifar16.npz --from {out}/cifar-qcfs-{seed}/model.pt --neuron lm-h --crop 2 --flip "
    "--learning-rate 0.02 --epochs 4",
    "cifar-lm-h": f"{RESNET} --neuron lm-h --backprop stbp --epochs 3",
    "cifar-lif": f"{RESNET} --neuron lif --backprop stbp --epochs 3",
    "cifar-slices": f"{RESNET} --neuron lm-h --backprop slices --slice 2 --epochs 3",
    "cifar-radical": f"{RESNET} --neuron lm-h-radical --backprop stbp --epochs 3",
}
"""By name, the options of hmdf-train; an ANN of QCFS activations is no program."""
IMAGES, TEST_IMAGES, PIXELS = 5000, 2000, 16
"""Of CIFAR-10, the first ones, each pixel the mean of 2 x 2."""
ACCURACY = "float (%)", "integer (%)", "same class (%)"
HEAD = *ACCURACY, "SOPs (M)", "energy (uJ)", "cores", "zeros (%)", "weights (kB)", "time (s/1,000)", "memory (MiB)"
"""Energy and cores of Loihi 2, typical; weights without zeros, each with its place; training's time and memory."""
BATCHES = 12
"""Mini-batches in which time and memory are measured."""
_TABLE = re.compile(r"(<!-- chips -->\n).*?(<!-- end -->)", re.DOTALL)


def network(family: str) -> tuple[nn.Module, Tensor]:
    """The network of a family, and its events (N, T, 2, H, W)."""

    def neuron() -> Neuron:
        if family == "HM-DF":
            return HybridFiring(CHANNELS, T, spike=GradedSpike(4, 0.25))
        lm_h = MultiHierarchical(CHANNELS, T)
        if family == "LM-H":
            lm_h.set_factors(FACTORS)
        return lm_h

    def layer(inputs: int) -> list[nn.Module]:
        return [TernaryConv2d(inputs, CHANNELS, 3, 2, 1), nn.BatchNorm2d(CHANNELS), neuron()]

    torch.manual_seed(0)
    size = SIZE // 8
    head = TernaryLinear(CHANNELS * size * size, 4)
    module = nn.Sequential(*layer(2), *layer(CHANNELS), *layer(CHANNELS), nn.Flatten(), head)
    events = (torch.rand(16, T, 2, SIZE, SIZE) < 0.2).float()
    with torch.no_grad():
        for _ in range(20):
            reset(module)
            for step in range(T):
                set_step(module, step)
                module(events[:, step])
    return module.eval(), events


def table(chips: Sequence[str]) -> str:
    """A row for each chip; what a chip lacks, and how often it is needed."""

    @cache
    def program(family: str, target: str) -> Program:
        module, events = network(family)
        absorb = not load_target(target).capabilities.multiplier
        config = Config(bits={"input": 1}, absorb_multipliers=absorb)
        return hmdf.compile(module, events[:1], target=target, calibration=events, config=config).program

    rows = ["| chip | " + " | ".join(FAMILIES) + " |", "|---" * (1 + len(FAMILIES)) + "|"]
    same: dict[object, str] = {}
    for name in chips:
        chip = load_target(name)
        like = same.setdefault((registers_of(chip), chip.capabilities.multiplier), name)  # it has the same integers
        cells = []
        for family in FAMILIES:
            lacks = Counter(finding.resource for finding in check(program(family, like), chip))
            named = [f"{resource.replace('_', ' ')} {count}" for resource, count in lacks.items()]
            cells.append(", ".join(named) or "fits")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def with_table(text: str) -> str:
    """A document with the table between its markers."""
    return _TABLE.sub(lambda m: f"{m[1]}{table(target_names())}\n{m[2]}", text)


# ------------------------------------------------------------------------------- trained


def make_data(path: Path) -> None:
    """The data of the runs on CIFAR-10."""
    arrays: dict[str, Any] = {}
    for split, count in (("train", IMAGES), ("test", TEST_IMAGES)):
        data = shrunk(load_data("cifar10", split, None, count), PIXELS)
        arrays |= {f"x_{split}": data.inputs, f"y_{split}": data.labels, "class_names": np.array(data.class_names)}
    np.savez_compressed(path, **arrays)


def make(name: str, seed: int, out: Path) -> None:
    """Train, compile, simulate; time and memory."""
    folder, options = out / f"{name}-{seed}", shlex.split(RUNS[name].format(out=out, seed=seed))
    if not (folder / "done").exists():
        command("train", *options, "--threads", 1, "--test-every", 1000, "--seed", seed, "--resume", "--out", folder)
        (folder / "done").touch()
    if "qcfs" not in name and not (folder / "out.json").exists():
        data, model = ("--data", options[1]), folder / "model.pt"
        calibration = "--calibration", options[1], "--config", out / "config.toml"
        command("compile", model, "--target", "loihi2", "--emit", "hmdf", *calibration, "--out", folder)
        written = "--json", folder / "out.json"
        command("sim", folder / "model.hmdf", *data, "--threads", 1, "--against", model, *written)
    if not (folder / "cost.json").exists():
        subprocess.run([sys.executable, "-m", "experiments.families", "cost", str(folder), options[1]], check=True)


def command(name: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", f"hmdf.tools.{name}", *map(str, arguments)], check=True)


def rows(out: Path) -> Iterator[list[str]]:
    """Of the runs that are there; a cell has the mean of the seeds and half of their range."""
    yield ["run", "seeds", *HEAD]
    for name in RUNS:
        found = [folder for folder in sorted(out.glob(f"{name}-[0-9]")) if (folder / "cost.json").exists()]
        if found:
            columns = zip(*map(figures, found), strict=True)
            yield [name, str(len(found)), *(cell([v for v in column if v is not None]) for column in columns)]


def figures(folder: Path) -> list[float | None]:
    cost = json.loads((folder / "cost.json").read_text())
    trained = [100 * float(list(csv.DictReader((folder / "metrics.csv").open()))[-1]["test_accuracy"])]
    spent = [cost["seconds_per_1000"], cost["peak_bytes"] / 2**20]
    if not (folder / "out.json").exists():
        return [*trained, *[None] * 7, *spent]
    run = json.loads((folder / "out.json").read_text())
    accuracy, (chip,) = run["accuracy"], run["targets"]
    shares = [100 * accuracy[key] for key in ("float", "integer", "agreement")]
    used = [run["sops"]["per_sample"] / 1e6, chip["energy_pj"]["typical"] / 1e6, chip["cores"]]
    weights = [100 * run["neurobench"]["connection_sparsity"], chip["compressed_weight_bytes"] / 1e3]
    return [*shares, *used, *weights, *spent]


def cell(numbers: Sequence[float]) -> str:
    if not numbers:
        return ""
    half = (max(numbers) - min(numbers)) / 2
    return f"{mean(numbers):.4g}" + (f" ± {half:.2g}" if len(numbers) > 1 else "")


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@click.argument("document", type=click.Path(path_type=Path))
def chips(document: Path) -> None:
    document.write_text(with_table(document.read_text("utf-8")), "utf-8")


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/families"), show_default=True)
@click.option("--runs", default=",".join(RUNS), show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True)
def run(out: Path, runs: str, seeds: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "cifar16.npz").exists():
        make_data(out / "cifar16.npz")
    (out / "config.toml").write_text("input_bits = 10\n")
    for seed in range(seeds):
        for name in runs.split(","):
            make(name, seed, out)


@main.command(name="table")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/families"), show_default=True)
def print_table(out: Path) -> None:
    head, *body = rows(out)
    for line in [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *body]:
        click.echo(f"| {' | '.join(line)} |")


@main.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("data")
def cost(folder: Path, data: str) -> None:
    """Train anew on a few mini-batches, what was trained here."""
    torch.set_num_threads(1)
    trained = checkpoint.load(folder / "model.pt")
    spec, options = trained.network, TrainingConfig(**{**trained.training, "epochs": 1, "warmup_epochs": 0.0})
    few = first(load_data(data, "train", None, None), BATCHES * options.batch_size)
    warm_up(spec, options, few)
    usage = folder / "usage.json"
    usage.unlink(missing_ok=True)
    meter = Meter(usage, options.batch_size)
    train(spec, replace(options, test_every=1), few, first(few, 2), progress=meter)
    spent = {"seconds_per_1000": 1000 * meter.usage.seconds / meter.usage.samples, "peak_bytes": meter.usage.peak}
    (folder / "cost.json").write_text(json.dumps(spent))


if __name__ == "__main__":
    main()
