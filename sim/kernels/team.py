"""Threads that share the work on one block of samples: they wait for each other after every population."""

from __future__ import annotations

import sys

from llvmlite import ir
from numba import types

from .compiling import intrinsic, kernel

_SPINS = 4000
"""Looks at the others' progress before a thread offers its core to somebody else."""
_YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
_INT64 = ir.IntType(64)


@kernel
def mine(member, members, pixel_tile, block, blocks):
    """Whether a tile is this thread's: neighbouring blocks, whose messages share cache lines, go to one thread."""
    return (pixel_tile * ((blocks + 1) // 2) + block // 2) % members == member


@kernel
def wait(arrivals, expected):
    """Count this thread in, and go on when `expected` arrivals have been counted."""
    _arrive(arrivals)
    looks = 0
    while _arrived(arrivals) < expected:
        looks += 1
        if looks > _SPINS:
            _give_way()


@intrinsic
def _arrive(typing_context, address):
    def emit(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _INT64.as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(_INT64, 1), "seq_cst")

    return types.int64(types.int64), emit


@intrinsic
def _arrived(typing_context, address):
    def emit(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], _INT64.as_pointer()), "seq_cst", 8)

    return types.int64(types.int64), emit


@intrinsic
def _give_way(typing_context):
    def emit(context, builder, signature, args):
        function = builder.module.globals.get(_YIELD)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(ir.IntType(32), []), _YIELD)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), emit
