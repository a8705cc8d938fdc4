"""What the ablation compares: its rows, the budget that all of them share, and what is kept of a finished run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

BASE = "base"
FIGURE_3 = (BASE, "binary", "lif-ternary", "vanilla")
"""The rows of figure 3 of arXiv 2410.07547, vanilla online learning the last; and LIF with 1.5-bit weights."""


class Row(msgspec.Struct, frozen=True):
    """A variant: what it changes of the base, as options of NetworkSpec and of TrainingConfig."""

    about: str
    network: dict[str, Any] = {}
    training: dict[str, Any] = {}


NETWORK = {"weights": "ternary", "neuron": "plain", "parallel": "none", "seca": "none", "spike_bits": None}
SGD = {"optimizer": "sgd", "learning_rate": 0.1}
"""Muon is for low-bit weights: full-precision ones have SGD, and so has a base beside them, at the papers' rate."""

# In the order in which they run: whatever was finished when one had to stop can be compared.
ROWS = {
    BASE: Row("1.5-bit weights, plain neurons, spikes in floating point"),
    "binary": Row("1-bit weights", {"weights": "binary"}),
    "lif-ternary": Row("LIF neurons with binary spikes, 1.5-bit weights", {"neuron": "lif"}),
    "parallel": Row("the second neuron of a block without membrane", {"parallel": "second"}),
    "spikes-4bit": Row("4-bit spikes in training", {"spike_bits": 4}),
    "clipped": Row("4-bit spikes without gradient above the largest", {"spike_bits": 4, "activation": "clipped"}),
    "power-of-two": Row("4-bit spikes that are powers of two", {"spike_bits": 4, "activation": "power-of-two"}),
    "every": Row("gradients of every step", training={"backprop": "every"}),
    "random": Row("gradient of one drawn step", training={"backprop": "random"}),
    "all": Row(
        "parallel, 4-bit spikes and one drawn step together",
        {"parallel": "second", "spike_bits": 4},
        {"backprop": "random"},
    ),
    "mpbn": Row("BatchNorm on the membrane", {"neuron": "mpbn"}),
    "seca-I": Row("channel attention I", {"seca": "I"}),
    "seca-II": Row("channel attention II", {"seca": "II"}),
    "seca-II-gate": Row("channel attention II, of a layer's current alone", {"seca": "II-gate"}),
    "sgd": Row("the base, by SGD", training=SGD),
    "float": Row("full-precision weights, by SGD", {"weights": "float"}, SGD),
    "vanilla": Row(
        "vanilla online learning: LIF, full-precision weights, by SGD", {"neuron": "lif", "weights": "float"}, SGD
    ),
}


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every row gets; `samples`, `test_samples` and `integer_samples` are the first ones, all for None.

    Attributes:
        test_samples: that the float network is tested on.
        integer_samples: of these, that the integer program runs.
        pixels: shrink all images to this many a side, a divisor of theirs; None for none.
    """

    data: str = "cifar10"
    net: str = "resnet18"
    width: int = 16
    time_steps: int = 4
    epochs: int = 3
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup_epochs: float = 1.0
    optimizer: str = "sgd"
    precision: str = "32-true"
    backprop: str = "every"
    crop: int = 2
    flip: bool = True
    samples: int | None = None
    test_samples: int | None = None
    integer_samples: int | None = None
    pixels: int | None = None

    def network(self, row: str) -> dict[str, Any]:
        """Options of NetworkSpec that the data do not determine."""
        return {"name": self.net, "width": self.width, "time_steps": self.time_steps, **NETWORK, **ROWS[row].network}

    def training(self, row: str, seed: int) -> dict[str, Any]:
        """Options of TrainingConfig."""
        shared = (
            "epochs",
            "batch_size",
            "learning_rate",
            "warmup_epochs",
            "optimizer",
            "precision",
            "backprop",
            "crop",
            "flip",
        )
        budget = {key: getattr(self, key) for key in shared}
        return {"seed": seed, "test_every": self.epochs, **budget, **ROWS[row].training}


class Record(msgspec.Struct, frozen=True):
    """A finished run.

    Attributes:
        float_accuracy: of the trained network, on `test_samples`.
        integer_accuracy: of its integer program, on `integer_samples`.
        sops, macs: per sample, as counted; `hm_df_sops` as HM-DF counts them, `conventional_sops` as Spikformer does
            (docs/counters.md).
        energy_pj: per sample, of the target cmos45.
        hd_lif_energy_pj: as HM-DF's third version counts it; None where not all spikes have 4 bits.
        weight_bytes, conventional_weight_bytes: as stored; as the papers charge them.
        seconds_per_epoch: processor time of training, all of the process, tests left out.
        peak_bytes: the most that was resident while training, less what was before.
        notes: what the compiler changed.
        trainers: hashes of the trainer's sources that trained it: times and memory of different ones do not compare.
    """

    row: str
    seed: int
    float_accuracy: float
    test_samples: int
    integer_accuracy: float
    integer_samples: int
    sops: float
    hm_df_sops: float
    conventional_sops: float
    macs: float
    energy_pj: float
    hd_lif_energy_pj: float | None
    weight_bytes: int
    conventional_weight_bytes: float
    seconds_per_epoch: float
    training_samples: int
    peak_bytes: int
    notes: list[str]
    trainers: list[str]
    machine: dict[str, str]


def budget_path(folder: Path) -> Path:
    return folder / "budget.json"


def read_budget(folder: Path) -> Budget:
    return msgspec.json.decode(budget_path(folder).read_bytes(), type=Budget)


def record_path(folder: Path, row: str, seed: int) -> Path:
    return folder / f"{row}-{seed}.json"


def read_record(folder: Path, row: str, seed: int) -> Record | None:
    """None where the run is not finished, or was kept in another form: then it is only compiled and run anew."""
    try:
        return msgspec.json.decode(record_path(folder, row, seed).read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def records(folder: Path) -> Iterator[Record]:
    """All finished runs of a folder, in the order of the rows."""
    for row in ROWS:
        for path in sorted(folder.glob(f"{row}-*.json")):
            seed = path.stem.removeprefix(f"{row}-")
            found = read_record(folder, row, int(seed)) if seed.isdigit() else None
            if found is not None:
                yield found
