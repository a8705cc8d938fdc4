"""A convolution: by events where messages are small, by rows of low-bit weights, or weight by weight."""

from __future__ import annotations

from math import prod

from hmdf.sim.contract import Conv2d

from ..accumulate import (
    DENSE_ROWS,
    DENSE_TILE,
    SPARE,
    Accumulation,
    Rows,
    ScratchArray,
    Site,
    check_sums,
    dense_table,
    flat_table,
    in_rows,
    list_room,
    row_table,
)
from ..values import INT32

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
    channels, height, width = source.shape
    span = op.dilation[0] * (op.weight.shape[2] - 1) + 1
    local = f"{site.acc}_rows"
    starts, totals, events = (site.scratch(what) for what in ("event_starts", "event_totals", "row_events"))
    padded = width + 2 * op.padding[1] + (DENSE_TILE - 1) * op.stride[1]
    dense = dense_table(site, rows) if _may_be_dense(op, site, rows, padded) else None
    listed = f"&{local}, {room}, {site.scratch('events')}"
    sums = f"{local[:-5]}_sums" if dense else site.acc
    call = f"&{window}, {rows.bytes}, {source.limits.high}, {listed}, {table.name}, y, x, {sums}"
    position = f"conv2d_events_{rows.bits}({call});"
    advance, start = (
        f"advance_rows_{source.code}",
        [f"event_rows {local} = {{{events}, {starts}, {totals}, NULL, NULL, 0}};"],
    )
    if dense:
        position, advance = f"{site.acc} = conv2d_either_{rows.bits}({call});", f"advance_either_{source.code}"
        choice = f"&{local}, {dense.name}, {site.acc}_tile, {source.text}, {channels * height * width}"
        start += [
            f"int32_t *const {sums} = {site.acc};",
            "#if MODEL_HELIUM",
            f"int32_t {site.acc}_tile[DENSE_TILE * {rows.outputs}];",
            f"choose_dense({choice});",
            "#endif",
        ]
    columns = span * ((padded if dense else width) + 1)
    return Accumulation(
        equation,
        position=position,
        row=f"{advance}(&{window}, {source.text}, {rows.bytes}, y, &{local});",
        start="\n".join(start),
        outputs=rows.outputs,
        tables=(table, dense) if dense else (table,),
        scratch=(
            ScratchArray("row_events", "u32", span * width * channels + SPARE),
            ScratchArray("event_starts", "i32", span * (width + 1)),
            ScratchArray("event_totals", "i32", columns),
            ScratchArray("events", "u32", room + SPARE),
        ),
        definitions=(definition,),
    )


def _may_be_dense(op: Conv2d, site: Site, rows: Rows, padded: int) -> bool:
    """Whether conv2d_dense of template/kernels.c computes it: ternary, 16 messages at a time, in the lists' memory."""
    source, (inputs, height, width) = site.source, op.weight.shape[1:]
    return (
        rows.bits == 2
        and source.code == "u8"
        and inputs % 16 == 0
        and op.dilation[1] == 1
        and height <= DENSE_ROWS
        and padded <= 4 * source.shape[2]
        and inputs * height * width * source.limits.high * 4 * 85 <= INT32.high
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
