"""One run of the ablation: train, compile, run as integers, keep the figures.

    python -m experiments.ablation.run FOLDER ROW SEED

Begun by __main__.py, with the budget that it left in FOLDER.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import logging
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

import hmdf
import hmdf.train
from benchmarks.children import peak_memory
from experiments.ablation.rows import Budget, Record, read_budget, record_path
from hmdf.export.compiler import Compilation
from hmdf.hw_targets.events import measured
from hmdf.hw_targets.on_targets import on_targets
from hmdf.hw_targets.target import load_target
from hmdf.sim.encoder import normalise
from hmdf.sim.files import write_whole
from hmdf.sim.program import Program
from hmdf.tools.compile import CALIBRATION_SAMPLES
from hmdf.tools.documents.run import Compiled
from hmdf.tools.inputs import load_data, to_program
from hmdf.tools.simulation.counts import counted
from hmdf.train.checkpoint import Checkpoint
from hmdf.train.config import TrainingConfig
from hmdf.train.data import Dataset
from hmdf.train.networks import NetworkSpec
from hmdf.train.trainer import EpochMetrics, Progress, train

TARGET = "cmos45"
"""The papers' energy convention; its program has the widest registers."""
BLOCK = 256
"""Test samples normalised at a time."""
RESET_PEAK = Path("/proc/self/clear_refs")
SOURCES = sorted(Path(hmdf.train.__file__).parent.rglob("*.py"))
TRAINER = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]
"""Of the sources as this process has them."""


def main(folder: Path, row: str, seed: int) -> None:
    out = folder / f"{row}-{seed}"
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another process is at this run")
        record = finished(read_budget(folder), row, seed, out)
        write_whole(record_path(folder, row, seed), msgspec.json.format(msgspec.json.encode(record), indent=1))
    print(f"float {record.float_accuracy:.2%}, integer {record.integer_accuracy:.2%}, {record.sops / 1e6:.2f} M SOPs")


def finished(budget: Budget, row: str, seed: int, out: Path) -> Record:
    """Everything of a run, from where it was left."""
    train_data = shrunk(load_data(budget.data, "train", None, budget.samples), budget.pixels)
    test_data = shrunk(load_data(budget.data, "test", None, budget.test_samples), budget.pixels)
    trained, usage = trained_and_measured(budget, row, seed, train_data, test_data, out)
    return Record(
        row=row,
        seed=seed,
        float_accuracy=trained.metrics["test_accuracy"],
        test_samples=len(test_data),
        seconds_per_epoch=usage.seconds / usage.samples * len(train_data),
        training_samples=len(train_data),
        peak_bytes=usage.peak,
        trainers=usage.trainers,
        machine=machine(),
        **as_integers(trained, train_data, test_data, budget.integer_samples, out),
    )


# ------------------------------------------------------------------------------ training


def trained_and_measured(
    budget: Budget, row: str, seed: int, train_data: Dataset, test_data: Dataset, out: Path
) -> tuple[Checkpoint, Usage]:
    """Train, or go on training, to the end."""
    shape, classes = train_data.input_shape, len(train_data.class_names)
    spec = NetworkSpec(input_shape=shape, classes=classes, **budget.network(row))
    config = TrainingConfig(**budget.training(row, seed))
    warm_up(spec, config, train_data)
    meter = Meter(out / "usage.json", config.batch_size)
    return train(spec, config, train_data, test_data, out=out, progress=meter, resume=True), meter.usage


def warm_up(spec: NetworkSpec, config: TrainingConfig, data: Dataset) -> None:
    """Compile and load whatever a mini-batch needs, so that neither its time nor its memory is counted as training.

    Mini-batches of two: so many that random BP draws the first step and later ones.
    """
    few = first(data, 4 * spec.time_steps)
    train(spec, replace(config, epochs=1, batch_size=2), few, first(data, 2))


class Usage(msgspec.Struct):
    """Of training so far: processor seconds, samples trained in them, the most bytes resident above the baseline, and
    hashes of the trainers that did it.
    """

    seconds: float = 0.0
    samples: int = 0
    peak: int = 0
    trainers: list[str] = []


class Meter(Progress):
    """Measures training, its tests left out, and keeps the figures in a file, since a run may consist of parts.

    Mini-batches that are trained twice, because the process was killed after the last save, count twice on both sides.
    """

    def __init__(self, path: Path, batch_size: int) -> None:
        self.path, self.batch_size = path, batch_size
        self.usage = msgspec.json.decode(path.read_bytes(), type=Usage) if path.exists() else Usage()
        ctypes.CDLL(None).malloc_trim(0)  # what the C library still holds of the warm-up would hide as much of the peak
        self.baseline = reset_peak()
        self.since = time.process_time()

    def batch(self, epoch: int, samples: int, total: int, loss: float, accuracy: float) -> None:
        now = time.process_time()
        if TRAINER not in self.usage.trainers:
            self.usage.trainers.append(TRAINER)
        self.usage.seconds += now - self.since
        self.usage.samples += samples - (samples - 1) // self.batch_size * self.batch_size
        self.usage.peak = max(self.usage.peak, peak_memory() - self.baseline)
        self.since = now
        beside = self.path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(self.usage))
        beside.replace(self.path)

    def epoch(self, metrics: EpochMetrics) -> None:
        assert metrics.train_accuracy is not None
        trained = f"train {metrics.train_accuracy:.2%}, loss {metrics.train_loss:.4f}"
        tested = "" if metrics.test_accuracy is None else f", test {metrics.test_accuracy:.2%}"
        print(f"epoch {metrics.epoch}: {trained}{tested}", flush=True)
        reset_peak()
        self.since = time.process_time()


def reset_peak() -> int:
    """Let the peak of resident memory begin anew; returns what is resident now."""
    RESET_PEAK.write_text("5")
    return peak_memory()


def shrunk(data: Dataset, pixels: int | None) -> Dataset:
    """Each pixel the mean of a square of pixels, rounded."""
    if pixels is None:
        return data
    samples, channels, height, width = data.inputs.shape
    if height != width or height % pixels:
        sys.exit(f"--pixels {pixels} must divide the images' size, {height} x {width}")
    parts = data.inputs.reshape(samples, channels, pixels, height // pixels, pixels, width // pixels)
    return replace(data, inputs=np.rint(parts.mean((3, 5), dtype=np.float32)).astype(data.inputs.dtype))


def first(data: Dataset, count: int | None) -> Dataset:
    return replace(data, inputs=data.inputs[:count], labels=data.labels[:count])


# ------------------------------------------------------------------------------ integers


def as_integers(
    trained: Checkpoint, train_data: Dataset, test_data: Dataset, samples: int | None, out: Path
) -> dict[str, Any]:
    """Compile, run, and what it cost."""
    compilation = compiled(trained, first(train_data, CALIBRATION_SAMPLES))
    program, tested = compilation.program, first(test_data, samples)
    hmdf.save(program, out / "model.hmdf")
    result = hmdf.simulate(program, blocks(program, tested), labels=tested.labels, threads=1)
    activity = measured(result.counters)
    on = on_targets(program, [load_target(TARGET)], activity)
    report = counted(Compiled, program, result.counters, result.seconds, activity, on)
    energy = report.targets[0].energy_pj
    assert energy is not None
    return {
        "integer_accuracy": result.accuracy,
        "integer_samples": len(tested),
        "sops": report.sops.per_sample,
        "hm_df_sops": next(count.sops for count in report.literature.conventions if count.name == "hm_df"),
        "conventional_sops": report.sops.conventional_per_sample,
        "macs": report.macs.per_sample,
        "energy_pj": energy.typical,
        "hd_lif_energy_pj": report.literature.hd_lif_energy_pj,
        "weight_bytes": report.memory.weight_bytes,
        "conventional_weight_bytes": report.memory.conventional_weight_bytes,
        "notes": [str(note) for note in compilation.notes],
    }


def compiled(trained: Checkpoint, calibration: Dataset) -> Compilation:
    preprocessing = to_program(trained.preprocessing)
    x = normalise(calibration.inputs, preprocessing)
    example = torch.from_numpy(x[:1].astype(np.float32))
    return hmdf.compile(trained.build(), example, target=TARGET, calibration=x, preprocessing=preprocessing)


def blocks(program: Program, data: Dataset) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(data), BLOCK):
        yield normalise(data.inputs[start : start + BLOCK], program.input.preprocessing)


def machine() -> dict[str, str]:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {"processor": found[1] if found else "unknown", "threads": "1", "torch": str(torch.__version__)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its notes would fill the log
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
