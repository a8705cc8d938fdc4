"""The table of targets: does the program fit, and what does a sample cost there?"""

from __future__ import annotations

from math import floor, log10
from typing import Any

import click
import msgspec
from rich.console import Console

from hmdf.hw_targets.activity import Activity, measured
from hmdf.hw_targets.references import ann, neurobench
from hmdf.hw_targets.survey import Verdict, survey
from hmdf.hw_targets.target import Cost, Target, load_target, target_names
from hmdf.sim.counters import Counters
from hmdf.sim.program import Program

from .common import print_table, table

REFERENCE = "cmos45"
"""The target whose constants the literature uses for ANNs."""


def targets_of(names: str) -> list[Target]:
    """Targets by a comma-separated list of names and files; "all" are the shipped ones.

    Raises:
        TargetError: there is no such target.
    """
    wanted = target_names() if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise click.BadParameter("give names of targets, or all", param_hint="--target")
    return [load_target(name) for name in wanted]


def cost_document(program: Program, counters: Counters, targets: list[Target], chips: int) -> dict[str, Any]:
    """Keys `targets`, `ann` and `neurobench` of out.json (docs/reports.md)."""
    activity = measured(counters)
    return survey_document(program, activity, survey(program, targets, activity, chips))


def survey_document(program: Program, activity: Activity, verdicts: list[Verdict]) -> dict[str, Any]:
    """The same keys, from a survey that was made."""
    dense = ann(program, load_target(REFERENCE))
    return {
        "targets": [_verdict(verdict) for verdict in verdicts],
        "ann": {"macs": dense.macs, "int8_energy_pj": _plain(dense.int8), "fp32_energy_pj": _plain(dense.fp32)},
        "neurobench": msgspec.to_builtins(neurobench(program, activity)),
    }


def mapping_document(program: Program, activity: Activity, target: Target) -> dict[str, Any]:
    """The cores of a program on a target: mapping.json."""
    from hmdf.hw_targets.mapping import map_program

    return msgspec.to_builtins(map_program(program, target, activity))


def _verdict(verdict: Verdict) -> dict[str, Any]:
    row: dict[str, Any] = {
        "target": verdict.target,
        "title": verdict.title,
        "fits": verdict.fits,
        "findings": msgspec.to_builtins(verdict.findings),
        "cores": None,
        "chips": None,
        "energy_pj": None,
        "energy_status": None,
        "energy_missing": [],
        "latency_ns": None,
        "memory_bytes": None,
    }
    if verdict.estimate is None or verdict.mapping is None:
        return row
    cost = verdict.estimate
    return row | {
        "cores": cost.cores,
        "chips": cost.chips,
        "core_lower_bound": verdict.mapping.lower_bound.cores,
        "energy_pj": None if cost.energy.total is None else _plain(cost.energy.total),
        "energy_by_layer_pj": {name: _plain(value) for name, value in cost.energy.by_node.items()},
        "energy_by_constant_pj": {name: _plain(value) for name, value in cost.energy.by_constant.items()},
        "energy_spread_pj": msgspec.to_builtins(cost.energy.spread),
        "energy_status": cost.energy.status,
        "energy_missing": list(cost.energy.missing),
        "latency_ns": None if cost.timing is None else _plain(cost.timing.sample),
        "step_ns": None if cost.timing is None else _plain(cost.timing.step),
        "memory_bytes": sum(cost.memory.values()),
        "memory_by_purpose": cost.memory,
        "constants": msgspec.to_builtins(cost.constants),
    }


def _plain(cost: Cost) -> dict[str, float]:
    return {"low": cost.low, "typical": cost.typical, "high": cost.high}


def print_costs(console: Console, report: dict[str, Any]) -> None:
    """One line per target: fit, cores, energy and latency as low - typical - high, and how sure the constants are."""
    console.print("\nper sample on each target (low - typical - high)", style="bold")
    grid = table("target", "fits", "constants", "cores", "chips", "memory", "energy (uJ)", "latency (us)", left=3)
    for row in report["targets"]:
        grid.add_row(
            row["target"],
            "yes" if row["fits"] else f"no: {len(row['findings'])} findings",
            row["energy_status"] or "no cost known",
            _number(row["cores"]),
            _number(row["chips"]),
            "" if row["memory_bytes"] is None else f"{row['memory_bytes'] / 1e3:,.1f} kB",
            _triple(row["energy_pj"], 1e6),
            _triple(row["latency_ns"], 1e3),
        )
    dense = report["ann"]
    grid.add_row("ANN, 8 bit", "", "published", "", "", "", _triple(dense["int8_energy_pj"], 1e6), "")
    grid.add_row("ANN, fp32", "", "published", "", "", "", _triple(dense["fp32_energy_pj"], 1e6), "")
    print_table(console, grid, "memory", "constants", "chips", "cores")
    unfit = [row["target"] for row in report["targets"] if not row["fits"] and row["cores"] is not None]
    if unfit:
        console.print("figures of a target that it does not fit hold once its findings are mended", style="dim")
    for row in report["targets"]:
        if row["energy_missing"]:
            console.print(f"{row['target']} has no figure for: {', '.join(row['energy_missing'])}", style="dim")


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _triple(cost: dict[str, float] | None, unit: float) -> str:
    if cost is None:
        return ""
    low, typical, high = (cost[key] / unit for key in ("low", "typical", "high"))
    figures = [_figure(low), _figure(typical), _figure(high)]
    return figures[1] if low == high else " - ".join(figures)


def _figure(value: float) -> str:
    """Three significant digits, without an exponent."""
    decimals = 2 - floor(log10(abs(value))) if value else 0
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"
