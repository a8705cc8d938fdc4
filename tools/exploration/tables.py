"""Points as an aligned table, and what keeps them from their targets."""

from __future__ import annotations

from rich.console import Console

from ..console import print_table, table
from ..documents.exploration import Point, Setting
from ..text import in_units, number, percent
from .choice import Chosen, standard_error, summary
from .criteria import exact

SHOWN_POINTS = 60
"""Above it the table is of the fronts."""
SHOWN_FINDINGS = 3
"""Of each target; the rest is in exploration.json."""
_AXES = {"message_bits": "messages", "input_bits": "input", "weight_bits": "weights", "pools": "pools"}


def print_points(console: Console, points: list[Point], front: set[str], chosen: Point | None) -> None:
    """One line per point, in the order of targets and settings; of a large grid those of the fronts."""
    shown = points if len(points) <= SHOWN_POINTS else [p for p in points if p.key in front]
    varying = [field for field in _AXES if len({getattr(p.setting, field) for p in points}) > 1]
    titles = (
        "", "target", "spike bits", "steps", *(_AXES[field] for field in varying), "accuracy", "+-", "energy (uJ)",
        "memory (kB)", "cores", "chips", "latency (us)", "fits",
    )  # fmt: skip
    grid = table(*titles, left=2)
    for point in shown:
        setting, mark = point.setting, "*" if point.key in front else ""
        grid.add_row(
            ">" + mark if chosen is not None and point.key == chosen.key else mark,
            point.target,
            str(setting.spike_bits),
            str(setting.time_steps),
            *(str(getattr(setting, field)) for field in varying),
            "" if point.accuracy is None else percent(point.accuracy),
            "" if point.accuracy is None else percent(standard_error(point)),
            in_units(point.energy_pj, 1e6, exact) + ("+" if point.energy_missing and point.energy_pj else ""),
            "" if point.memory_bytes is None else exact(point.memory_bytes / 1e3),
            number(point.cores),
            number(point.chips),
            "" if point.latency_ns is None else exact(point.latency_ns.typical / 1e3),
            "yes" if point.fits else f"no: {len(point.findings)}",
        )
    print_table(console, grid, "chips", "+-", "latency (us)")
    if len(shown) < len(points):
        console.print(f"the fronts only; all {len(points)} points are in exploration.json")
    console.print(
        "*: on the front of its target (accuracy against energy, memory and cores); >: chosen; +-: standard error\n"
        "energy: low - typical - high, +: more, some events have no known cost; fits: no: how many findings",
        style="dim",
    )


def print_findings(console: Console, points: list[Point]) -> None:
    """By target, what keeps points from it, the most frequent first."""
    for target in dict.fromkeys(p.target for p in points if not p.fits):
        unfit = [p for p in points if p.target == target and not p.fits]
        count: dict[str, int] = {}
        for point in unfit:
            for text in dict.fromkeys(f"{f.where}: {f.problem}; fix: {f.fix}" for f in point.findings):
                count[text] = count.get(text, 0) + 1
        ranked = sorted(count, key=lambda text: -count[text])
        console.print(f"\n{len(unfit)} points do not fit {target}; their figures hold once the findings are fixed")
        for text in ranked[:SHOWN_FINDINGS]:
            console.print(f"  in {count[text]}: {text}", soft_wrap=True)
        if len(ranked) > SHOWN_FINDINGS:
            console.print(f"  and {len(ranked) - SHOWN_FINDINGS} more in exploration.json")


def print_choice(console: Console, choice: Chosen) -> None:
    """The chosen setting and the reasons."""
    head = "no setting can be chosen" if choice.point is None else f"chosen: {summary(choice.point)}"
    console.print(f"\n{head}", style="bold", soft_wrap=True)
    for line in choice.why:
        console.print(f"  {line}", soft_wrap=True)


def in_order(points: list[Point], targets: list[str]) -> list[Point]:
    """By target as the user named them, then by setting."""

    def order(point: Point) -> tuple[int, Setting]:
        return targets.index(point.target), point.setting

    return sorted(points, key=order)
