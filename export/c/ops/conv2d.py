"""A convolution: by events where messages are small, by rows of low-bit weights, or weight by weight."""

from __future__ import annotations

from math import prod

from hmdf.sim.contract import Conv2d

from ..accumulate import SPARE, Accumulation, ScratchArray, Site, check_sums, flat_table, in_rows, list_room, row_table

OP = Conv2d


def accumulate(op: Conv2d, site: Site) -> Accumulation:
    check_sums(site, op.weight)
    by_taps = op.weight.transpose(2, 3, 1, 0)  # (kh, kw, inputs of a group, outputs)
    rows = in_rows(op, site.source, by_taps.reshape(-1, len(op.weight))) if op.groups == 1 else None
    window, definition = site.window(op.window)
    source, equation = site.source, _equation(op)
    if rows is None:
        outputs, each = len(op.weight), len(op.weight) // op.groups
        grouped = op.weight.reshape(op.groups, each, *op.weight.shape[1:]).transpose(3, 4, 0, 2, 1)
        table = flat_table(site, grouped, op.weight_bits, "tap, input, output of its group")
        function = f"conv2d_{source.code}_{op.weight_bits}"
        arguments = f"&{window}, {outputs}, {op.groups}, {source.text}, {table.name}, y, x, {site.acc}"
        return Accumulation(
            equation, f"{function}({arguments});", outputs=outputs, tables=(table,), definitions=(definition,)
        )
    table, room = row_table(site, rows), list_room(prod(op.weight.shape[1:]))
    if not rows.words:
        call = f"&{window}, {rows.bytes}, {source.text}, {table.name}, y, x, {site.acc}"
        position = f"conv2d_rows_{source.code}_{rows.bits}({call});"
        return Accumulation(equation, position, outputs=rows.outputs, tables=(table,), definitions=(definition,))
    channels, _, width = source.shape
    span = op.dilation[0] * (op.weight.shape[2] - 1) + 1
    local = f"{site.acc}_rows"
    counts, totals, events = (site.scratch(what) for what in ("event_counts", "event_totals", "row_events"))
    large = int(source.limits.high > 15)
    listed = f"&{local}, {room}, {site.scratch('events')}"
    call = f"&{window}, {rows.bytes}, {large}, {listed}, {table.name}, y, x, {site.acc}"
    return Accumulation(
        equation,
        position=f"conv2d_events_{rows.bits}({call});",
        row=f"advance_rows_{source.code}(&{window}, {source.text}, {rows.bytes}, y, &{local});",
        start=f"event_rows {local} = {{{events}, {counts}, {totals}, 0}};",
        outputs=rows.outputs,
        tables=(table,),
        scratch=(
            ScratchArray("row_events", "u32", span * width * channels + SPARE),
            ScratchArray("event_counts", "u16", span * width),
            ScratchArray("event_totals", "i32", span * width),
            ScratchArray("events", "u32", room + SPARE),
        ),
        definitions=(definition,),
    )


def _equation(op: Conv2d) -> tuple[str, ...]:
    (sy, sx), (py, px), (dy, dx) = op.stride, op.padding, op.dilation
    _, inputs, height, width = op.weight.shape
    group = "" if op.groups == 1 else f", {op.groups} groups of {inputs} inputs"
    return (
        f"{height}x{width} convolution, stride {sy}x{sx}, padding {py}x{px}, dilation {dy}x{dx}{group}",
        f"acc[o, y, x] = sum over i, u, v of w[o, i, u, v] * in[i, {_position('y', sy, 'u', dy, py)}, "
        f"{_position('x', sx, 'v', dx, px)}]",
    )


def _position(at: str, stride: int, tap: str, dilation: int, padding: int) -> str:
    times = [f"{n} * {name}" if n > 1 else name for n, name in ((stride, at), (dilation, tap))]
    return " + ".join(times) + (f" - {padding}" if padding else "")
