"""What a program costs on its targets, and beside other networks: the tables and their part of out.json."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.console import Console

from hmdf.hw_targets.events import EventCounts, measured
from hmdf.hw_targets.on_targets import OnTarget, on_targets
from hmdf.hw_targets.place.mapping import map_program
from hmdf.hw_targets.price.conventions import conventions, macs_beyond
from hmdf.hw_targets.price.cost import estimate, spread_of
from hmdf.hw_targets.price.references import ann, neurobench
from hmdf.hw_targets.schema import Cost, Target
from hmdf.hw_targets.target import load_target, target_names
from hmdf.sim.counters import Counters
from hmdf.sim.program import Program

from .console import print_table, table
from .simulation.baseline import REFERENCE, print_comparison
from .text import figure, number, relative, triple

FALLBACK = "generic"
"""What is shown for a program that was compiled for a target that is not shipped."""


def targets_of(names: str) -> list[Target]:
    """Targets by a comma-separated list of names and files; "all" are the shipped ones.

    Raises:
        TargetError: there is no such target.
    """
    wanted = target_names() if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise click.BadParameter("give names of targets, or all", param_hint="--target")
    return [load_target(name) for name in wanted]


def own_target(program: Program) -> str:
    """The target that a program was compiled for, if it is shipped."""
    compiled_for = program.metadata.target
    return compiled_for if compiled_for in target_names() else FALLBACK


def cost_document(program: Program, counters: Counters, targets: list[Target], chips: int) -> dict[str, Any]:
    """Keys `targets`, `literature`, `ann` and `neurobench` of out.json (docs/reports.md)."""
    activity = measured(counters)
    return on_targets_document(program, activity, on_targets(program, targets, activity, chips))


def on_targets_document(program: Program, activity: EventCounts, verdicts: list[OnTarget]) -> dict[str, Any]:
    """The same keys, from what is known of each target."""
    reference = load_target(REFERENCE)
    dense = ann(program, reference)
    conventional = estimate(program, reference, activity).energy.total
    counts = conventions(program, activity, reference)
    graded = any(program.message_of(s.source).bits == 4 for s in program.synapses if s.weight is not None)
    return {
        "targets": [_verdict(verdict) for verdict in verdicts],
        "literature": {
            "energy_pj": None if conventional is None else _plain(conventional),
            "hd_lif_energy_pj": counts["hm_df"].energy_pj if graded else None,
            "beyond_pj": macs_beyond(program, activity, reference),
            "conventions": msgspec.to_builtins(list(counts.values())),
        },
        "ann": {"macs": dense.macs, "int8_energy_pj": _plain(dense.int8), "fp32_energy_pj": _plain(dense.fp32)},
        "neurobench": msgspec.to_builtins(neurobench(program, activity)),
    }


def mapping_document(program: Program, activity: EventCounts, target: Target) -> dict[str, Any]:
    """The cores of a program on a target: mapping.json."""
    return msgspec.to_builtins(map_program(program, target, activity))


def _verdict(verdict: OnTarget) -> dict[str, Any]:
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
    cost, bound = verdict.estimate, verdict.mapping.lower_bound
    return row | {
        "cores": cost.cores,
        "chips": cost.chips,
        "core_lower_bound": bound.cores,
        "core_bound_by": bound.resource,
        "core_ratio": verdict.mapping.ratio,
        "energy_pj": None if cost.energy.total is None else _plain(cost.energy.total),
        "energy_by_layer_pj": {name: _plain(value) for name, value in cost.energy.by_node.items()},
        "energy_by_constant_pj": {name: _plain(value) for name, value in cost.energy.by_constant.items()},
        "energy_spread_pj": msgspec.to_builtins(cost.energy.spread),
        "energy_status": cost.energy.status,
        "energy_missing": list(cost.energy.missing),
        "latency_ns": None if cost.timing is None else _plain(cost.timing.sample),
        "latency_spread_ns": None if cost.timing is None else msgspec.to_builtins(spread_of(cost.timing.by_sample)),
        "step_ns": None if cost.timing is None else _plain(cost.timing.step),
        "memory_bytes": sum(cost.memory.values()),
        "memory_by_purpose": cost.memory,
        "constants": msgspec.to_builtins(cost.constants),
    }


def _plain(cost: Cost) -> dict[str, float]:
    return {"low": cost.low, "typical": cost.typical, "high": cost.high}


# ------------------------------------------------------------------------------- tables


def print_costs(console: Console, report: dict[str, Any]) -> None:
    """The targets, one line each; what one target's figures consist of; other networks beside this one."""
    rows = report["targets"]
    console.print("\nper sample on each target (low - typical - high)", style="bold")
    heads = "target", "fits", "constants", "cores", "chips", "memory", "energy (uJ)", "over samples", "latency (us)"
    grid = table(*heads, left=3)
    for row in rows:
        grid.add_row(
            row["target"],
            "yes" if row["fits"] else f"no: {len(row['findings'])} findings",
            row["energy_status"] or ("not mapped" if row["cores"] is None else "no cost known"),
            number(row["cores"]),
            number(row["chips"]),
            "" if row["memory_bytes"] is None else f"{row['memory_bytes'] / 1e3:,.1f} kB",
            triple(row["energy_pj"], 1e6),
            relative(row.get("energy_spread_pj")),
            triple(row["latency_ns"], 1e3),
        )
    print_table(console, grid, "memory", "constants", "over samples", "chips", "cores")
    _print_notes(console, report)
    if len(rows) == 1 and rows[0]["cores"] is not None:
        _print_parts(console, rows[0])
    print_comparison(console, report)


def _print_notes(console: Console, report: dict[str, Any]) -> None:
    """What a reader must know about the figures above."""
    rows = report["targets"]
    if any(not row["fits"] and row["cores"] is not None for row in rows):
        console.print("figures of a target that it does not fit hold once its findings are mended", style="dim")
    unmapped = [row["target"] for row in rows if row["cores"] is None]
    if unmapped:
        console.print(f"some layer fits no core, so there is no mapping: {', '.join(unmapped)}", style="dim")
    for row in rows:
        if row["energy_missing"]:
            console.print(f"{row['target']} has no figure for: {', '.join(row['energy_missing'])}", style="dim")
    compiled_for = report["program"]["target"]
    if compiled_for not in target_names() and [row["target"] for row in rows] == [FALLBACK]:
        console.print(f"compiled for '{compiled_for}', which is not shipped: give its file with --target", style="dim")


def _print_parts(console: Console, row: dict[str, Any]) -> None:
    """What the figures of one target consist of."""
    bound = f"{row['core_lower_bound']:,} by their {row['core_bound_by'].replace('_', ' ')}"
    lines = [f"cores: {row['cores']:,}; no mapping can do with less than {bound}; ratio {row['core_ratio']:.2f}"]
    memory = [f"{purpose} {size / 1e3:,.1f} kB" for purpose, size in row["memory_by_purpose"].items() if size]
    lines.append(f"memory: {', '.join(memory)}")
    if row["energy_pj"] is not None and row["energy_pj"]["typical"]:
        total = row["energy_pj"]["typical"]
        parts = {name: cost["typical"] / total for name, cost in row["energy_by_constant_pj"].items()}
        shares = [f"{name.removesuffix('_energy')} {share:.1%}" for name, share in parts.items() if share >= 0.0005]
        lines.append(f"energy (typical): {', '.join(shares)}")
    for what, key, scale in (("energy, uJ", "energy_spread_pj", 1e6), ("latency, us", "latency_spread_ns", 1e3)):
        spread = row[key]
        if spread is not None:
            mean, std, low, high = (figure(spread[k] / scale) for k in ("mean", "std", "smallest", "largest"))
            lines.append(f"over samples ({what}): mean {mean}, standard deviation {std}, {low} to {high}")
    for line in lines:
        console.print(line, soft_wrap=True)
