"""This program beside others: a baseline that was run on the same data, and itself as an ANN."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console

from hmdf.hw_targets.schema import Cost
from hmdf.sim.errors import InputError
from hmdf.tools.console import print_table, table
from hmdf.tools.text import COUNTED_BY, figure, number, triple
from hmdf.train.data import Dataset
from hmdf.train.data.picture_files import Pictures

REFERENCE = "cmos45"
"""The target whose constants the literature uses, for ANNs too."""
LARGEST_FILE = 256 << 20
"""Bytes of an out.json that is still read."""


def data_document(dataset: Dataset | Pictures) -> dict[str, Any]:
    """What was run, so that two runs can be told to be of the same data (key `data` of out.json)."""
    digest = None
    if dataset.labels is not None:
        digest = hashlib.sha256(np.asarray(dataset.labels, dtype="<i8").tobytes()).hexdigest()
    return {"name": dataset.name, "split": dataset.split, "labels_sha256": digest}


class _Data(msgspec.Struct):
    name: str
    split: str
    labels_sha256: str | None


class _Accuracy(msgspec.Struct):
    integer: float | None


class _PerSample(msgspec.Struct):
    per_sample: float


class _Literature(msgspec.Struct):
    energy_pj: Cost | None


class _Origin(msgspec.Struct):
    sha256: str
    network: str


class _OnTarget(msgspec.Struct):
    target: str
    fits: bool
    energy_pj: Cost | None
    latency_ns: Cost | None


class _Out(msgspec.Struct):
    """The part of an out.json that a baseline gives."""

    samples: int
    data: _Data
    accuracy: _Accuracy
    sops: _PerSample
    macs: _PerSample
    literature: _Literature
    program: _Origin
    targets: list[_OnTarget]


def read_baseline(path: Path) -> _Out:
    """An out.json of hmdf-sim.

    Raises:
        InputError: the file is too large, or is none.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"--baseline {path}: larger than {LARGEST_FILE >> 20} MiB, which no out.json is")
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Out)
    except msgspec.DecodeError as error:
        what = str(error).replace("`", "'")
        raise InputError(
            f"--baseline {path}: not an out.json of this hmdf-sim ({what}); write one with --json"
        ) from None


def check_same_data(baseline: _Out, path: Path, report: dict[str, Any]) -> None:
    """Raise InputError unless a baseline was run on the samples of this run."""
    here = report["data"]
    if here["labels_sha256"] is None:
        raise InputError(f"--baseline {path}: samples without labels cannot be told to be the same in both runs")
    if baseline.samples != report["samples"] or baseline.data.labels_sha256 != here["labels_sha256"]:
        theirs = f"{baseline.samples} samples of {baseline.data.name} ({baseline.data.split})"
        raise InputError(
            f"--baseline {path}: run on {theirs}, this one on {report['samples']} of {here['name']} ({here['split']}); "
            "run both on the same samples"
        )


def baseline_document(baseline: _Out, path: Path) -> dict[str, Any]:
    """Key `baseline` of out.json."""
    return {
        "file": path.name,
        "network": baseline.program.network,
        "sha256": baseline.program.sha256,
        "accuracy": baseline.accuracy.integer,
        "sops_per_sample": baseline.sops.per_sample,
        "macs_per_sample": baseline.macs.per_sample,
        "energy_pj": msgspec.to_builtins(baseline.literature.energy_pj),
        "targets": msgspec.to_builtins(baseline.targets),
    }


def print_comparison(console: Console, report: dict[str, Any]) -> None:
    """This network, the baseline and the same network as an ANN: on the literature's constants and on one target."""
    target = _shown(report)
    console.print(f"\nside by side, per sample ({REFERENCE}: the constants of the literature)", style="bold")
    heads = ["network", "accuracy", "SOPs", "MACs", f"{REFERENCE} (uJ)", *([f"{target} (uJ)"] if target else [])]
    grid = table(*heads)
    for cells in _comparison(report, target):
        grid.add_row(*cells[: len(heads)])
    print_table(console, grid, "MACs", "SOPs", "accuracy")
    baseline = report.get("baseline")
    if target and baseline is not None and target not in {row["target"] for row in baseline["targets"]}:
        note = f"{baseline['file']} has no figures for {target}: run hmdf-sim --target {target} for it"
        console.print(note, style="dim", soft_wrap=True)


def _comparison(report: dict[str, Any], target: str | None) -> list[tuple[str, ...]]:
    literature, dense, baseline = report["literature"], report["ann"], report.get("baseline")
    rows: list[tuple[str, ...]] = [
        (
            "this program",
            _share(report["accuracy"]["integer"]),
            number(report["sops"]["per_sample"]),
            number(report["macs"]["per_sample"]),
            triple(literature["energy_pj"], 1e6),
            _energy_on(report["targets"], target),
        )
    ]
    for count in literature["conventions"]:
        if count["name"] in COUNTED_BY:
            cells = number(count["sops"]), "", figure(count["energy_pj"] / 1e6)
            rows.append((f"  {COUNTED_BY[count['name']]}", "", *cells, ""))
    if literature["energy_pj"] is not None and literature["beyond_pj"]:
        full = (literature["energy_pj"]["typical"] + literature["beyond_pj"]) / 1e6
        rows.append(("  every MAC at 4.6 pJ, at each step", "", "", "", figure(full), ""))
    if baseline is not None:
        rows.append(
            (
                f"baseline {baseline['network']} ({baseline['file']})",
                _share(baseline["accuracy"]),
                number(baseline["sops_per_sample"]),
                number(baseline["macs_per_sample"]),
                triple(baseline["energy_pj"], 1e6),
                _energy_on(baseline["targets"], target),
            )
        )
    macs = number(dense["macs"])
    rows.append(("as an ANN, 8 bit", "", "", macs, triple(dense["int8_energy_pj"], 1e6), ""))
    rows.append(("as an ANN, fp32", "", "", macs, triple(dense["fp32_energy_pj"], 1e6), ""))
    return rows


def _shown(report: dict[str, Any]) -> str | None:
    """The target that gets a column: the one that the program was compiled for, else the first with a cost."""
    known = [row["target"] for row in report["targets"] if row["energy_pj"] is not None and row["target"] != REFERENCE]
    compiled_for = report["program"]["target"]
    return compiled_for if compiled_for in known else next(iter(known), None)


def _energy_on(rows: list[dict[str, Any]], target: str | None) -> str:
    energies = [triple(row["energy_pj"], 1e6) for row in rows if row["target"] == target]
    return energies[0] if energies else ""


def _share(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{accuracy:.2%}"
