"""Whatever LLVM makes of generic vectors: 2 pixels x 32 channels."""

from __future__ import annotations

from functools import cache

from llvmlite import ir

from ..compiling import kernel
from .event_loops import make_add_events, quad_of_pairs
from .loops import INT16, INT32, make_dot, make_scheme, read_two_bytes
from .path import BYTE_PAIRS, ROW, Kernel, Path


class Portable(Path):
    def kind(self, taps, largest, width):
        return BYTE_PAIRS

    @staticmethod
    def tile() -> Kernel:
        run = anywhere()

        def tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
            run(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, bytes_)

        return tile

    @staticmethod
    def events() -> Kernel:
        add = events_anywhere()
        return lambda path, kind, events, count, weights, accumulators: add(events, count, weights, accumulators)


def _emit_pairs(builder, sums, inputs, weights):
    """Generic: LLVM recognises a multiply-add of neighbouring 16-bit integers where the processor has one."""
    lanes = sums.type.count
    shorts, wide = ir.VectorType(INT16, 2 * lanes), ir.VectorType(INT32, 2 * lanes)
    a = builder.sext(builder.bitcast(inputs, shorts), wide)
    b = builder.sext(builder.bitcast(weights, shorts), wide)
    products = builder.mul(a, b)
    undefined = ir.Constant(wide, ir.Undefined)
    even, odd = (
        builder.shuffle_vector(products, undefined, ir.Constant(sums.type, [2 * i + first for i in range(lanes)]))
        for first in (0, 1)
    )
    return builder.add(sums, builder.add(even, odd))


_PAIRS = make_scheme(16, _emit_pairs)
BYTE_PAIRS_ANYWHERE = make_scheme(16, _emit_pairs, read_two_bytes)


@cache
def anywhere() -> Kernel:
    """A tile of two-byte products, on any path."""
    pairs, byte_pairs = (make_dot(2, 2, scheme) for scheme in (_PAIRS, BYTE_PAIRS_ANYWHERE))

    @kernel
    def run(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, bytes_):
        for i in range(0, pixels, 2):
            at, to = offsets + 8 * i, sums + ROW * i
            if kind == BYTE_PAIRS:
                byte_pairs(source, at, runs, run_count, run_bytes, weights, to, bytes_)
            else:
                pairs(source, at, runs, run_count, run_bytes, weights, to, bytes_)

    return run


def events_anywhere() -> Kernel:
    """A list of events whose weights are BYTE_PAIRS, on any path."""
    return make_add_events(16, quad_of_pairs(_emit_pairs))
