"""3x3 convolutions with 16 products for each 2x2 outputs, where the definition has 36: Winograd's F(2x2, 3x3), exact.

For the 3x3 weights g of a channel and the 4x4 messages d that 2x2 outputs read (arXiv 1509.09308, section 4.1),

    Y = sum over channels of A'[(G g G') * (B' d B)]A

    B' = [1  0 -1  0]    G = 1/2 [2  0  0]    A' = [1  1  1  0]
         [0  1  1  0]            [1  1  1]         [0  1 -1 -1]
         [0 -1  1  0]            [1 -1  1]
         [0  1  0 -1]            [0  0  2]

2G is used for G, so that all is integer and 4 Y comes out, of which the last two bits are 0. B' d B of messages up to m
lies in -2m..2m, at the point (1, 1) in 0..4m; 2m is added at the others, since the dot products take unsigned bytes,
and its effect on 4 Y is taken off at the end. Sums wrap at 32 bits, and 4 Y fits. Populations that read so number
their pixels 2x2 by 2x2. A point's products, over all channels and for as many steps as there is room for, are a dot
product of the path's (paths/).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from ..contract import Conv2d, Port, Synapse
from ..program import Program
from .compiling import intrinsic, kernel
from .dot import dot_rows
from .lanes import WIDTH, address, load, shift_right, store
from .layout import Layout
from .paths.path import OUTPUTS, Path
from .records import buffer_row
from .tiles import LANES, PIXELS

POINTS = 16
_QUAD = 4
"""Pixels of 2x2."""
_LARGEST_WEIGHT = 127 // 9
_CHANNELS, _CHANNELS_AT_ONCE = 32, 64
"""Of which a source's pixel must be a multiple, and that are taken at once where it is one of these too."""
_APART = 64
"""Bytes by which points are kept further apart, lest all of them compete for the same lines of the cache."""
ROWS = 16
"""Rows of a product, 2x2 pixels of a step each: their sums at all points stay in the first-level cache."""
PRODUCTS = ROWS * OUTPUTS + _APART // 4
"""32-bit sums of a point."""
_INT8, _INT64 = ir.IntType(8), ir.IntType(64)

# ----------------------------------------------------------------------------------- plan


def port_for(program: Program, ports: tuple[Port, ...], layout: Layout, path: Path) -> int:
    """Which of a narrow population's ports is read so, or -1."""
    read = [program.by_name.get(port.source) for port in ports]
    if any(isinstance(node, Synapse) and not isinstance(node.op, Conv2d) for node in read):
        return -1
    fitting = (index for index, node in enumerate(read) if isinstance(node, Synapse) and _fits(node, layout, path))
    return next(fitting, -1)


def _fits(synapse: Synapse, layout: Layout, path: Path) -> bool:
    op, source = synapse.op, layout.buffers[synapse.source]
    if not isinstance(op, Conv2d) or op.weight.shape[2:] != (3, 3):
        return False
    plain = op.groups == 1 and {*op.stride, *op.dilation} == {1}
    even = all(size % 2 == 0 for size in layout.shapes[synapse.name][1:])
    small = largest_at_points(layout.largest[synapse.source]) <= 255 and np.abs(op.weight).max() <= _LARGEST_WEIGHT
    channels = source["arena"] == 0 and source["pixel"] % _CHANNELS == 0
    if not (plain and even and small and channels):
        return False
    looked_up = path.planes(op.weight.transpose(0, 2, 3, 1), source["pixel"], layout.largest[synapse.source], True)
    return not looked_up and path.prefers_points(layout.shapes[synapse.name][2], source["pixel"])


def pixel_order(height: int, width: int) -> NDArray[np.int64]:
    """Pixels, row by row of an image, in the order 2x2 by 2x2."""
    pixels = np.arange(height * width).reshape(height // 2, 2, width // 2, 2)
    return pixels.transpose(0, 2, 1, 3).reshape(-1)


def weights_at_points(taps: NDArray[np.int8]) -> NDArray[np.int8]:
    """(2G) g (2G)' of weights (outputs, 3, 3, inputs): (outputs, 16, inputs)."""
    return _along(_along(taps, 1), 2).reshape(len(taps), POINTS, -1)


def _along(g: NDArray[Any], axis: int) -> NDArray[Any]:
    first, second, third = np.moveaxis(g, axis, 0)
    outer = first + third
    return np.stack([first + first, outer + second, outer - second, third + third], axis)


def corrections(taps: NDArray[np.int8], largest: int) -> NDArray[np.int32]:
    """What takes the effect of the added 2m off: (4, outputs), a row for each of 2x2 pixels."""
    added = 2 * largest * _along(_along(taps.sum(axis=3, dtype=np.int32), 1), 2)
    added[:, 1, 1] = 0
    a = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.int32)
    return -np.einsum("ip,opq,jq->ijo", a, added, a).reshape(_QUAD, -1)


def largest_at_points(largest: int) -> int:
    """Largest byte at a point for messages up to `largest`."""
    return 4 * largest


def memory_size(steps: int, channels: int) -> int:
    """Bytes of B' d B for a tile and all its steps; whole groups of rows are read."""
    return POINTS * (steps * PIXELS // _QUAD * channels + _APART) + PIXELS * channels


# -------------------------------------------------------------------------------- kernels


@kernel
def steps_at_once(tile):
    """Steps whose sums the memory of products holds."""
    return max(1, ROWS // (tile.pixels // _QUAD))


@kernel
def multiply(path, port, model, arenas, tile, steps, begin, end, fresh, scratch):
    """Products at all points for steps [begin, end) of a tile; unless `fresh`, B' d B is there from a block before."""
    quads, channels = tile.pixels // _QUAD, port.point_channels
    row = quads * channels
    apart = steps * row + _APART
    if fresh:
        source, offsets = buffer_row(model.buffers, port.source), model.offsets
        pixels, added = port.pixels + tile.pixel, port.point_added
        for t in range(begin, end):
            start = source.offset + tile.sample * source.sample + t * source.step
            for quad in range(quads):
                at = address(arenas.bytes, start + offsets[pixels + _QUAD * quad])
                to = address(scratch.points, t * row + quad * channels)
                _to_points(at, source.row, channels, to, apart, added)
    weights = address(model.weights, port.point_weight + tile.channel // LANES * POINTS * port.point_row)
    rows, first = address(model.offsets, port.point_rows), address(scratch.points, begin * row)
    for point in range(POINTS):
        dot_rows(
            path, port.point_dot, first + point * apart, channels, rows, channels, weights + point * port.point_row,
            address(scratch.products, point * PRODUCTS), (end - begin) * quads, tile.lanes,
        )  # fmt: skip


@kernel
def add_up(port, model, tile, step, scratch):
    """Accumulators of a tile from the products of the `step`-th step: A'[...]A, a quarter of it."""
    quads, p, out = tile.pixels // _QUAD, scratch.products, scratch.accumulator32
    for c in range(0, tile.lanes, WIDTH):
        k = port.point_corrections + tile.channel + c
        row = port.point_corrections_row
        k00, k01 = load(model.parameters, k), load(model.parameters, k + row)
        k10, k11 = load(model.parameters, k + 2 * row), load(model.parameters, k + 3 * row)
        for quad in range(quads):
            n = (step * quads + quad) * LANES + c
            a0, b0 = _column(p, n)
            a1, b1 = _column(p, n + PRODUCTS)
            a2, b2 = _column(p, n + 2 * PRODUCTS)
            a3, b3 = _column(p, n + 3 * PRODUCTS)
            to = quad * _QUAD * LANES + c
            store(out, to, shift_right(a0 + a1 + a2 + k00, 2))
            store(out, to + LANES, shift_right(a1 - a2 - a3 + k01, 2))
            store(out, to + 2 * LANES, shift_right(b0 + b1 + b2 + k10, 2))
            store(out, to + 3 * LANES, shift_right(b1 - b2 - b3 + k11, 2))


@kernel
def _column(p, n):
    """A' times a column of four points."""
    second, third = load(p, n + 4 * PRODUCTS), load(p, n + 8 * PRODUCTS)
    return load(p, n) + (second + third), (second - third) - load(p, n + 12 * PRODUCTS)


@kernel
def _to_points(at, row, channels, to, apart, added):
    """B' d B, and `added`, of the 4x4 messages from address `at` on, for all channels."""
    if channels % _CHANNELS_AT_ONCE == 0:
        for c in range(0, channels, _CHANNELS_AT_ONCE):
            _sixty_four(at + c, row, channels, to + c, apart, added)
    else:
        for c in range(0, channels, _CHANNELS):
            _thirty_two(at + c, row, channels, to + c, apart, added)


def _make_transform(count):
    """An intrinsic: B' d B of `count` channels. Arguments, all int64: address of d; bytes from a row of it, and from
    a pixel, to the next; address of the first point, bytes to the next one; what is added."""

    @intrinsic
    def transform(typing_context, source, row, pixel, to, apart, added):
        def generate(context, builder, signature, args):
            _generate(builder, ir.VectorType(_INT8, count), *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return transform


def _generate(b, kind, source, row, pixel, to, apart, added):
    def place(base, first, i, second, k):
        at = b.add(b.add(base, b.mul(first, _INT64(i))), b.mul(second, _INT64(k)))
        return b.inttoptr(at, kind.as_pointer())

    def splat(value):
        first = b.insert_element(ir.Constant(kind, ir.Undefined), b.trunc(value, _INT8), ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
        return b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    def along(d, more):
        """B' d, with `more` added to each but the second."""
        first, second, third = (b.add(x, more) if more else x for x in d[:3])
        return [b.sub(first, d[2]), b.add(d[1], d[2]), b.sub(third, d[1]), b.sub(second, d[3])], second

    d = [[b.load(place(source, row, i, pixel, k), align=1) for k in range(4)] for i in range(4)]
    columns = [along([d[i][k] for i in range(4)], None)[0] for k in range(4)]
    more = splat(added)
    for i in range(4):
        values, second = along([column[i] for column in columns], more)
        if i != 1:
            values[1] = b.add(second, columns[2][i])
        for k, value in enumerate(values):
            b.store(value, place(to, apart, 4 * i + k, _INT64(0), 0), align=1)


_sixty_four, _thirty_two = (_make_transform(count) for count in (_CHANNELS_AT_ONCE, _CHANNELS))
