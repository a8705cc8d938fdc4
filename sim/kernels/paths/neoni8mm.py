"""Arm with products of unsigned with signed bytes, usdot: 6 pixels x 16 channels in 24 of 32 registers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .event_loops import make_add_events, quad_of_bytes
from .loops import INT8, Scheme, call, make_dot, make_scheme
from .path import QUADS, ROW, Kernel, Path
from .portable import anywhere


def quads_of(name: str) -> Scheme:
    """`name` (sums, messages, weights) of Arm: four products of bytes in each of four lanes."""

    def emit(builder: Any, sums: Any, inputs: Any, weights: Any) -> Any:
        bytes_ = ir.VectorType(INT8, 16)
        a, b = builder.bitcast(inputs, bytes_), builder.bitcast(weights, bytes_)
        return call(builder, f"llvm.aarch64.neon.{name}.v4i32.v16i8", sums.type, sums, a, b)

    return make_scheme(4, emit)


QUADS_I8MM = quads_of("usdot")


class NeonI8mm(Path):
    FEATURES = ("i8mm", "dotprod")

    @staticmethod
    def tile() -> Kernel:
        return tile_of(QUADS_I8MM)

    @staticmethod
    def events() -> Kernel:
        add = make_add_events(4, quad_of_bytes(QUADS_I8MM.emit))
        return lambda path, kind, events, count, weights, accumulators: add(events, count, weights, accumulators)


def tile_of(scheme: Scheme) -> Kernel:
    """Bytes 16 channels at a time, in groups of 6 and 2 pixels, with none wasted of 32; the rest as anywhere."""
    quads_6, quads_2 = (make_dot(n, 4, scheme) for n in (6, 2))
    half, rest = ROW // 2, anywhere()

    def tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
        if kind != QUADS:
            rest(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, bytes_)
            return
        for side in range(0, 4 * lanes, half):
            for i in range(0, pixels, 6):
                at, to, row = offsets + 8 * i, sums + ROW * i + side, weights + side
                if pixels - i > 2:
                    quads_6(source, at, runs, run_count, run_bytes, row, to, bytes_)
                else:
                    quads_2(source, at, runs, run_count, run_bytes, row, to, bytes_)

    return tile
