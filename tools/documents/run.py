"""The numbers of a run: one document (out.json, report.json) and the tables printed from it."""

from __future__ import annotations

import json
import platform
import re
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from hmdf.sim.contract import INPUT, Population, Synapse
from hmdf.sim.counters import Counters
from hmdf.sim.files import write_whole
from hmdf.sim.memory import memory_of
from hmdf.sim.program import Program
from hmdf.sim.ranges import Ranges, prove
from hmdf.tools.console import print_table, table

VERSIONED = "hmdf", "numpy", "numba"
_NUMBERS = re.compile(r"\[\n\s*(-?[\d.][^\[\]{}\"]*?)\s*\]")


def document(
    program: Program,
    counters: Counters,
    seconds: float,
    *,
    ranges: Ranges | None = None,
    accuracy: dict[str, float | None] | None = None,
    verify: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that `out.json` and `report.json` hold; the keys are described in docs/reports.md."""
    proof = ranges or prove(program)
    memory = memory_of(program)
    samples = counters.samples
    sops = counters.sops_per_sample()
    return {
        "samples": samples,
        "time_steps": program.time_steps,
        "accuracy": {"float": None, "integer": None, "agreement": None} | (accuracy or {}),
        "sops": {
            "per_sample": float(sops.mean()) if samples else 0.0,
            "std": float(sops.std()) if samples else 0.0,
            "smallest": int(sops.min()) if samples else 0,
            "largest": int(sops.max()) if samples else 0,
            "conventional_per_sample": sum(s.conventional_sops for s in counters.synapses.values()),
        },
        "macs": {"per_sample": counters.macs_per_sample()},
        "memory": {
            "weight_bytes": memory.weight_bytes,
            "conventional_weight_bytes": memory.conventional_weight_bytes,
            "parameter_bytes": memory.parameter_bytes,
            "state_bytes": memory.state_bytes,
            "total_bytes": memory.total_bytes,
        },
        "input": _messages(counters, INPUT),
        "layers": [_layer(program, counters, proof, node) for node in program.nodes],
        "verify": verify or {},
        "program": {"sha256": program.sha256, **_origin(program)},
        "timing": {"seconds": seconds},
        "run": _run(),
    }


def _messages(counters: Counters, name: str) -> dict[str, float]:
    """Non-zero messages of a population or the input."""
    fired = counters.populations[name]
    return {
        "spike_density": fired.density(),
        "spikes_per_sample": float(fired.spikes_per_sample.mean()) if counters.samples else 0.0,
    }


def _run() -> dict[str, Any]:
    """How the numbers were made: the command, the versions, the time."""
    command = [f"hmdf-{Path(sys.argv[0]).stem.removeprefix('hmdf-')}", *sys.argv[1:]]
    return {
        "command": shlex.join(command),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in VERSIONED},
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _origin(program: Program) -> dict[str, Any]:
    about = program.metadata
    return {
        "network": about.network,
        "target": about.target,
        "tool_version": about.tool_version,
        "source_sha256": about.source_sha256,
        "calibration_data": about.calibration_data,
        "calibration_samples": about.calibration_samples,
        "state_bits": program.state_bits,
        "accumulator_bits": program.accumulator_bits,
    }


def _layer(program: Program, counters: Counters, ranges: Ranges, node: Synapse | Population) -> dict[str, Any]:
    """One node; a key that does not apply to its kind is null."""
    common = {"name": node.name, "shape": list(program.shapes[node.name])}
    if isinstance(node, Synapse):
        counts, interval = counters.synapses[node.name], ranges.synapses[node.name]
        return common | {
            "kind": node.op.__struct_config__.tag,
            "bits": node.weight_bits,
            "sops_per_sample": float(counts.sops_per_sample.mean()) if counters.samples else 0.0,
            "macs_per_sample": counts.macs,
            "conventional_sops_per_sample": counts.conventional_sops,
            "spike_density": counters.populations[node.source].density(),
            "saturations": None,
            "weight_bytes": counts.weight_bytes,
            "register_bits": interval.bits,
            "register_limit": program.accumulator_bits,
        }
    fired, proof = counters.populations[node.name], ranges.populations[node.name]
    register = proof.membrane or proof.current
    return common | {
        "kind": node.dynamics.__struct_config__.tag,
        "bits": node.message.bits,
        "signed": node.message.signed,
        "sops_per_sample": None,
        "macs_per_sample": None,
        **_messages(counters, node.name),
        "saturations": int(fired.state_saturations.sum() + fired.message_saturations.sum()),
        "state_saturations": int(fired.state_saturations.sum()),
        "message_saturations": int(fired.message_saturations.sum()),
        "state_can_saturate": proof.state_clamps,
        "message_can_saturate": proof.message_clamps,
        "weight_bytes": None,
        "register_bits": register.bits,
        "register_limit": program.state_bits,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a document, lists of numbers on one line each; the file appears whole or not at all."""
    text = _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", json.dumps(content, indent=2))
    write_whole(path, f"{text}\n".encode())


def print_layers(console: Console, report: dict[str, Any]) -> None:
    """The table of layers and the totals below it."""
    columns = (
        "layer", "kind", "shape", "bits", "SOPs/sample", "MACs/sample", "density", "weights", "register", "clipped",
        "saturated",
    )  # fmt: skip
    grid = table(*columns, left=3)
    for layer in report["layers"]:
        grid.add_row(
            layer["name"],
            layer["kind"],
            "x".join(map(str, layer["shape"])),
            _bits(layer),
            _count(layer["sops_per_sample"]),
            _count(layer["macs_per_sample"]),
            f"{layer['spike_density']:.1%}",
            _bytes(layer["weight_bytes"]),
            f"{layer['register_bits']}/{layer['register_limit']}",
            _clamps(layer, "message"),
            _clamps(layer, "state"),
        )
    print_table(console, grid, "register", "kind", "MACs/sample", "shape", "weights")
    console.print(
        "bits: of the weight or the message (s: signed); density: share of non-zero messages (synapse: of its source)\n"
        "register: bits that the accumulator or membrane provably needs / has\n"
        "clipped: messages at their limit; saturated: states at theirs; never: proven impossible",
        style="dim",
    )
    memory = report["memory"]
    console.print(
        f"\nper sample: {_count(report['sops']['per_sample'])} SOPs "
        f"(as Spikformer counts: {_count(report['sops']['conventional_per_sample'])}), "
        f"{_count(report['macs']['per_sample'])} MACs in {report['time_steps']} steps, over {report['samples']} samples"
    )
    console.print(
        f"memory: {_bytes(memory['total_bytes'])} = weights {_bytes(memory['weight_bytes'])} + "
        f"parameters {_bytes(memory['parameter_bytes'])} + state {_bytes(memory['state_bytes'])}"
    )
    conventional = memory["conventional_weight_bytes"]
    console.print(
        f"weights as papers count them (2 bits for a 1-bit weight, 3 for a ternary one, 4 bytes in stem and head): "
        f"{_bytes(round(conventional))}, {conventional / max(memory['weight_bytes'], 1):.2f} times what is stored"
    )


def print_fidelity(console: Console, rows: list[dict[str, Any]], samples: int) -> None:
    """Where accuracy is lost: the noise of the integers, layer by layer."""
    columns = "population", "bits", "LSB", "SQNR (dB)", "of this layer alone (dB)"
    console.print(f"\nsignal to quantization noise against the float network, {samples} samples", style="bold")
    grid = table(*columns)
    for row in rows:
        noise = (_decibel(row["sqnr_db"]), _decibel(row["own_sqnr_db"]))
        grid.add_row(row["population"], str(row["bits"]), f"{row['lsb']:.4g}", *noise)
    print_table(console, grid)


def _decibel(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"


def _bits(layer: dict[str, Any]) -> str:
    if not layer["bits"]:
        return ""
    return f"{'s' if layer.get('signed') else ''}{layer['bits']}"


def _clamps(layer: dict[str, Any], which: str) -> str:
    """Clamps of the message or the state that fired: a number, or 'never' where the range proof says that none can."""
    if layer["saturations"] is None:
        return ""
    fired = layer[f"{which}_saturations"]
    return f"{fired:,}" if layer[f"{which}_can_saturate"] or fired else "never"


def _count(value: float | None) -> str:
    if not value:
        return "" if value is None else "0"
    return f"{value / 1e6:,.2f} M" if value >= 1e6 else f"{value:,.0f}"


def _bytes(value: int | None) -> str:
    if not value:
        return ""
    return f"{value / 1e6:,.2f} MB" if value >= 1e6 else f"{value / 1e3:,.1f} kB" if value >= 1e3 else f"{value} B"
