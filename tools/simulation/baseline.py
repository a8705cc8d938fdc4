"""Another run of the same samples, put beside this one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from hmdf.sim.errors import InputError
from hmdf.train.data import Dataset
from hmdf.train.data.picture_files import Pictures

from ..documents.run import Baseline, BaselineTarget, RunData, Simulated


def run_data(dataset: Dataset | Pictures) -> RunData:
    """What was run, so that two runs can be told to be of the same data."""
    digest = None
    if dataset.labels is not None:
        digest = hashlib.sha256(np.asarray(dataset.labels, dtype="<i8").tobytes()).hexdigest()
    return RunData(dataset.name, dataset.split, digest)


def check_same_data(other: Simulated, path: Path, samples: int, data: RunData) -> None:
    """Raise InputError unless a baseline was run on the samples of this run."""
    if data.labels_sha256 is None:
        raise InputError(f"--baseline {path}: samples without labels cannot be told to be the same in both runs")
    if other.data is None:
        raise InputError(f"--baseline {path}: not an out.json of hmdf-sim; write one with --json")
    if (other.samples, other.data.labels_sha256) != (samples, data.labels_sha256):
        theirs = f"{other.samples} samples of {other.data.name} ({other.data.split})"
        raise InputError(
            f"--baseline {path}: run on {theirs}, this one on {samples} of {data.name} ({data.split}); "
            "run both on the same samples"
        )


def baseline(other: Simulated, path: Path) -> Baseline:
    """The part of another run that is put beside this one."""
    return Baseline(
        file=path.name,
        network=other.program.network,
        sha256=other.program.sha256,
        accuracy=other.accuracy.integer,
        sops_per_sample=other.sops.per_sample,
        macs_per_sample=other.macs.per_sample,
        energy_pj=other.literature.energy_pj,
        targets=[msgspec.convert(row, BaselineTarget, from_attributes=True) for row in other.targets],
    )
