"""A fully connected layer: by events where messages are small, by rows of low-bit weights, or weight by weight."""

from __future__ import annotations

from math import prod

from hmdf.sim.contract import Linear

from ..accumulate import SPARE, Accumulation, ScratchArray, Site, check_sums, flat_table, in_rows, list_room, row_table
from ..layout import channels_last

OP = Linear
_PART = 256
"""Inputs that are listed at a time."""


def accumulate(op: Linear, site: Site) -> Accumulation:
    check_sums(site, op.weight)
    source, (outputs, inputs) = site.source, op.weight.shape
    weight = channels_last(op.weight.reshape(outputs, *source.shape), source.shape).reshape(outputs, inputs).T
    equation = ("fully connected", "acc[o] = sum over i of w[o, i] * in[i]")
    rows = in_rows(op, source, weight)
    if rows is None:
        table = flat_table(site, weight, op.weight_bits, "input, output")
        call = f"{inputs}, {outputs}, {source.text}, {table.name}, {site.acc}"
        function = f"linear_{source.code}_{op.weight_bits}"
        return Accumulation(equation, f"{function}({call});", outputs=outputs, tables=(table,))
    if not rows.words:
        table = row_table(site, rows)
        call = f"{inputs}, {rows.bytes}, {source.text}, {table.name}, {site.acc}"
        function = f"linear_rows_{source.code}_{rows.bits}"
        return Accumulation(equation, f"{function}({call});", outputs=rows.outputs, tables=(table,))
    table, room, part = row_table(site, rows), list_room(inputs), min(_PART, prod(source.shape))
    call = (
        f"{inputs}, {rows.bytes}, {source.limits.high}, {source.text}, {part}, {site.scratch('found')}, {room}, "
        f"{site.scratch('events')}, {table.name}, {site.acc}"
    )
    return Accumulation(
        equation,
        f"linear_events_{source.code}_{rows.bits}({call});",
        outputs=rows.outputs,
        tables=(table,),
        scratch=(ScratchArray("found", "u32", part + SPARE), ScratchArray("events", "u32", room + SPARE)),
    )
