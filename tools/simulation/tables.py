"""The tables of hmdf-sim and hmdf-compile, printed from their document."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from hmdf.hw_targets.footprint import Footprint
from hmdf.hw_targets.price.cost import Spread
from hmdf.hw_targets.target import target_names
from hmdf.sim.verify import Comparison

from ..console import print_table, table
from ..documents.run import (
    BaselineTarget,
    Counted,
    NoiseRow,
    PredictionRow,
    Simulated,
    TargetRow,
)
from ..inputs import FALLBACK
from ..text import COUNTED_BY, in_units, number, percent, plural, relative, significant
from .counts import REFERENCE

PREDICTIONS = 100
"""Predictions that are printed; the JSON has all."""


def print_layers(screen: Console, document: Counted) -> None:
    """The table of layers and the totals below it."""
    columns = (
        "layer", "kind", "shape", "bits", "SOPs/sample", "MACs/sample", "density", "weights", "register", "clipped",
        "saturated",
    )  # fmt: skip
    grid = table(*columns, left=3)
    for layer in document.layers:
        grid.add_row(
            layer.name,
            layer.kind,
            "x".join(map(str, layer.shape)),
            f"{'s' if layer.signed else ''}{layer.bits or ''}",
            _count(layer.sops_per_sample),
            _count(layer.macs_per_sample),
            f"{layer.spike_density:.1%}",
            _bytes(layer.weight_bytes),
            f"{layer.register_bits}/{layer.register_limit}",
            _clamps(layer.message_saturations, layer.message_can_saturate),
            _clamps(layer.state_saturations, layer.state_can_saturate),
        )
    print_table(screen, grid, "register", "kind", "MACs/sample", "shape", "weights")
    screen.print(
        "bits: of the weight or the message (s: signed); density: share of non-zero messages (synapse: of its source)\n"
        "register: bits that the accumulator or membrane provably needs / has\n"
        "clipped: messages at their limit; saturated: states at theirs; never: proven impossible",
        style="dim",
    )
    memory, sops = document.memory, document.sops
    screen.print(
        f"\nper sample: {_count(sops.per_sample)} SOPs (as Spikformer counts: "
        f"{_count(sops.conventional_per_sample)}), {_count(document.macs.per_sample)} MACs in {document.time_steps} "
        f"steps, over {document.samples} samples"
    )
    screen.print(
        f"memory: {_bytes(memory.total_bytes)} = weights {_bytes(memory.weight_bytes)} + "
        f"parameters {_bytes(memory.parameter_bytes)} + state {_bytes(memory.state_bytes)}"
    )
    conventional = memory.conventional_weight_bytes
    screen.print(
        f"weights as papers count them (2 bits for a 1-bit weight, 3 for a ternary one, 4 bytes in stem and head): "
        f"{_bytes(round(conventional))}, {conventional / max(memory.weight_bytes, 1):.2f} times what is stored"
    )


def _clamps(fired: int | None, possible: bool | None) -> str:
    """Clamps that fired: a number, or 'never' where the range proof says that none can."""
    if fired is None:
        return ""
    return f"{fired:,}" if possible or fired else "never"


def _count(value: float | None) -> str:
    return f"{value / 1e6:,.2f} M" if value is not None and value >= 1e6 else number(value)


def _bytes(value: int | None) -> str:
    if not value:
        return ""
    return f"{value / 1e6:,.2f} MB" if value >= 1e6 else f"{value / 1e3:,.1f} kB" if value >= 1e3 else f"{value} B"


# -------------------------------------------------------------------------------- costs


def print_costs(screen: Console, document: Counted) -> None:
    """The targets, one line each; what one target's figures consist of; other networks beside this one."""
    rows = document.targets
    screen.print("\nper sample on each target (low - typical - high)", style="bold")
    heads = "target", "fits", "constants", "cores", "chips", "memory", "energy (uJ)", "over samples", "latency (us)"
    grid = table(*heads, left=3)
    for row in rows:
        grid.add_row(
            row.target,
            "yes" if row.fits else f"no: {plural(len(row.findings), 'finding')}",
            row.energy_status or ("not mapped" if row.cores is None else "no cost known"),
            number(row.cores),
            number(row.chips),
            "" if row.memory_bytes is None else f"{row.memory_bytes / 1e3:,.1f} kB",
            in_units(row.energy_pj, 1e6),
            relative(row.energy_spread_pj or None),
            in_units(row.latency_ns, 1e3),
        )
    print_table(screen, grid, "memory", "constants", "over samples", "chips", "cores")
    _print_notes(screen, document)
    if len(rows) == 1 and rows[0].cores is not None and rows[0].footprint is None:
        _print_parts(screen, rows[0])
    _print_networks(screen, document)


def _print_notes(screen: Console, document: Counted) -> None:
    """What a reader must know about the figures above."""
    rows = document.targets
    if any(not row.fits and row.cores is not None for row in rows):
        screen.print("figures of a target that it does not fit hold once its findings are fixed", style="dim")
    unmapped = [row.target for row in rows if row.cores is None]
    if unmapped:
        screen.print(f"some layer fits no core, so there is no mapping: {', '.join(unmapped)}", style="dim")
    for row in rows:
        if row.footprint is not None:
            screen.print(f"{row.target}: {_footprint(row.footprint)}", soft_wrap=True)
        if row.energy_missing:
            screen.print(f"{row.target} has no figure for: {', '.join(row.energy_missing)}", style="dim")
    compiled_for = document.program.target
    if compiled_for not in target_names() and [row.target for row in rows] == [FALLBACK]:
        screen.print(f"compiled for '{compiled_for}', which is not shipped: give its file with --target", style="dim")


def _footprint(held: Footprint) -> str:
    """Flash, RAM and instructions of a microcontroller."""
    parts = []
    for name, size, purposes in (
        ("flash", held.flash_bytes, held.flash_by_purpose),
        ("RAM", held.ram_bytes, held.ram_by_purpose),
    ):
        listed = ", ".join(f"{purpose} {part:,}" for purpose, part in purposes.items() if part)
        parts.append(f"{name} {size:,} bytes ({listed})")
    if not held.compiler:
        parts.append("without code and stack: arm-none-eabi-gcc is not installed")
    if held.instructions is not None:
        samples = plural(held.instruction_samples, "sample")
        parts.append(f"{held.instructions:,.0f} instructions for a sample in QEMU, not cycles (mean of {samples})")
    return "; ".join(parts)


def _print_parts(screen: Console, row: TargetRow) -> None:
    """What the figures of one target consist of."""
    bound = f"{row.core_lower_bound:,} by their {row.core_bound_by.replace('_', ' ')}"
    lines = [f"cores: {row.cores:,}; no mapping can do with less than {bound}; ratio {row.core_ratio:.2f}"]
    memory = [f"{purpose} {size / 1e3:,.1f} kB" for purpose, size in (row.memory_by_purpose or {}).items() if size]
    compressed = row.compressed_weight_bytes
    beside = "" if compressed is None else f" (weights without zeros, each with its place: {compressed / 1e3:,.1f} kB)"
    lines.append(f"memory: {', '.join(memory)}{beside}")
    if row.energy_pj is not None and row.energy_pj.typical:
        parts = {name: cost.typical / row.energy_pj.typical for name, cost in (row.energy_by_constant_pj or {}).items()}
        shares = [f"{name.removesuffix('_energy')} {share:.1%}" for name, share in parts.items() if share >= 0.0005]
        lines.append(f"energy (typical): {', '.join(shares)}")
    for what, spread, scale in (("energy, uJ", row.energy_spread_pj, 1e6), ("latency, us", row.latency_spread_ns, 1e3)):
        if isinstance(spread, Spread):
            mean, std, low, high = (significant(getattr(spread, f) / scale) for f in spread.__struct_fields__)
            lines.append(f"over samples ({what}): mean {mean}, standard deviation {std}, {low} to {high}")
    for line in lines:
        screen.print(line, soft_wrap=True)


def _print_networks(screen: Console, document: Counted) -> None:
    """This network, the baseline and the same network as an ANN: on the literature's constants and on one target."""
    target = _shown_target(document)
    screen.print(f"\nside by side, per sample ({REFERENCE}: the constants of the literature)", style="bold")
    heads = ["network", "accuracy", "SOPs", "MACs", f"{REFERENCE} (uJ)", *([f"{target} (uJ)"] if target else [])]
    grid = table(*heads)
    for cells in _networks(document, target):
        grid.add_row(*cells[: len(heads)])
    print_table(screen, grid, "MACs", "SOPs", "accuracy")
    baseline = document.baseline if isinstance(document, Simulated) else None
    if target and baseline is not None and target not in {row.target for row in baseline.targets}:
        note = f"{baseline.file} has no figures for {target}: run hmdf-sim --target {target} for it"
        screen.print(note, style="dim", soft_wrap=True)


def _networks(document: Counted, target: str | None) -> list[tuple[str, ...]]:
    literature, dense = document.literature, document.ann
    rows: list[tuple[str, ...]] = [
        (
            "this program",
            _share(document.accuracy.integer),
            number(document.sops.per_sample),
            number(document.macs.per_sample),
            in_units(literature.energy_pj, 1e6),
            _energy_on(document.targets, target),
        )
    ]
    for one in literature.conventions:
        if one.name in COUNTED_BY:
            energy = significant(one.energy_pj / 1e6)
            rows.append((f"  {COUNTED_BY[one.name]}", "", number(one.sops), "", energy, ""))
    if literature.energy_pj is not None and literature.beyond_pj:
        full = significant((literature.energy_pj.typical + literature.beyond_pj) / 1e6)
        rows.append(("  every MAC at 4.6 pJ, at each step", "", "", "", full, ""))
    if isinstance(document, Simulated) and (baseline := document.baseline) is not None:
        rows.append(
            (
                f"baseline {baseline.network} ({baseline.file})",
                _share(baseline.accuracy),
                number(baseline.sops_per_sample),
                number(baseline.macs_per_sample),
                in_units(baseline.energy_pj, 1e6),
                _energy_on(baseline.targets, target),
            )
        )
    for name, cost in (("8 bit", dense.int8_energy_pj), ("fp32", dense.fp32_energy_pj)):
        rows.append((f"as an ANN, {name}", "", "", number(dense.macs), in_units(cost, 1e6), ""))
    return rows


def _shown_target(document: Counted) -> str | None:
    """The target that gets a column: the one that the program was compiled for, else the first with a cost."""
    known = [row.target for row in document.targets if row.energy_pj is not None and row.target != REFERENCE]
    compiled_for = document.program.target
    return compiled_for if compiled_for in known else next(iter(known), None)


def _energy_on(rows: Sequence[TargetRow | BaselineTarget], target: str | None) -> str:
    return next((in_units(row.energy_pj, 1e6) for row in rows if row.target == target), "")


def _share(accuracy: float | None) -> str:
    return "" if accuracy is None else percent(accuracy)


# --------------------------------------------------------------- what hmdf-sim adds to it


def print_noise(screen: Console, rows: list[NoiseRow], samples: int) -> None:
    """Where accuracy is lost: the noise of the integers, layer by layer."""
    screen.print(f"\nsignal to quantization noise against the float network, {samples} samples", style="bold")
    grid = table("population", "bits", "LSB", "SQNR (dB)", "of this layer alone (dB)")
    for row in rows:
        noise = ("exact" if ratio is None else f"{ratio:.1f}" for ratio in (row.sqnr_db, row.own_sqnr_db))
        grid.add_row(row.population, str(row.bits), f"{row.lsb:.4g}", *noise)
    print_table(screen, grid)


def print_predictions(screen: Console, rows: list[PredictionRow]) -> None:
    """A table of file, class, score and margin."""
    screen.print("\npredictions (score: the largest logit; margin: above the second)", style="bold")
    grid = table("file", "class", "score", "margin", left=2)
    for row in rows[:PREDICTIONS]:
        grid.add_row(row.file, row.class_name, f"{row.score:.3f}", f"{row.margin:.3f}")
    print_table(screen, grid)
    if len(rows) > PREDICTIONS:
        screen.print(f"and {len(rows) - PREDICTIONS:,} more: --json FILE has all of them", style="dim")


def print_accuracy(screen: Console, document: Counted) -> None:
    """One line: accuracies, and samples per second."""
    accuracy, seconds = document.accuracy, document.timing.seconds
    parts = ["unknown, the images have no labels"]
    if accuracy.integer is not None:
        parts = [f"integer {percent(accuracy.integer)}"]
    if accuracy.floating is not None:
        parts = [f"float {percent(accuracy.floating)}", *parts]
    if accuracy.agreement is not None:
        parts.append(f"same class {percent(accuracy.agreement)}")
    rate = document.samples / seconds if seconds else 0.0
    screen.print(f"\naccuracy: {', '.join(parts)}; {rate:,.0f} samples/s")


def print_verification(screen: Console, compared: dict[str, Comparison]) -> None:
    """A line per executor; nothing where none was asked for."""
    if not compared:
        return
    screen.print("\nverification", style="bold")
    grid = table("executor", "samples", "populations", "values compared", "bit exact")
    for name, one in compared.items():
        label = "numba = reference" if name == "reference" else name
        numbers = (f"{amount:,}" for amount in (one.samples, one.populations, one.compared))
        grid.add_row(label, *numbers, "yes" if one.bit_exact else "NO")
    print_table(screen, grid)
    screen.print(f"bit exact: {'yes' if all(one.bit_exact for one in compared.values()) else 'no'}")
