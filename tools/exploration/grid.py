"""The grid: which settings are measured, from what the user wrote and what training allows."""

from __future__ import annotations

from itertools import product

from hmdf.export.graph import FoldedGraph

from ..documents.exploration import Pools, Setting

MOST_BITS = 16
"""Widest message of a Program."""


class RangeError(ValueError):
    """A list of numbers is not written as one; the message quotes the part."""


def numbers(text: str, last: int, low: int = 1, trained: int | None = None) -> list[int]:
    """The numbers of "2..8" or "1,2,4..6", ascending; the letter T stands for `trained`, or else for `last`.

    Raises:
        RangeError: a part is not a number or a range, or is outside low..last.
    """
    found: set[int] = set()
    for part in text.split(","):
        ends = [end.strip() for end in part.split("..")]
        values = [
            (trained or last) if end == "T" else int(end) if end.isascii() and end.isdigit() else None for end in ends
        ]
        first, final = values[0], values[-1]
        if first is None or final is None or len(values) > 2:
            raise RangeError(f"'{part.strip()}' is not a number or a range such as 2..8 or 1,2,4")
        if not low <= first <= final <= last:
            raise RangeError(f"'{part.strip()}' must ascend within {low}..{last}")
        found.update(range(first, final + 1))
    return sorted(found)


def trained_bits(graph: FoldedGraph) -> dict[str, int]:
    """By population with graded spikes: the most bits that make sense, those of training where it quantised."""
    return {
        node.name: node.dynamics.trained_bits or MOST_BITS
        for node in graph.populations
        if node.dynamics.integer.facts.spikes == "graded"
    }


def grid(
    spike_bits: list[int],
    time_steps: list[int],
    most_bits: int,
    *,
    message_bits: list[int],
    input_bits: list[int],
    weight_bits: list[int],
    pools: list[Pools],
) -> list[Setting]:
    """Every combination, each program once: spike bits above `most_bits` are the program of `most_bits`."""
    useful = sorted({min(bits, most_bits) for bits in spike_bits})
    axes = product(useful, time_steps, message_bits, input_bits, weight_bits, pools)
    return [Setting(*values) for values in axes]
