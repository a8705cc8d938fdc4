"""The most that one core can do: 8-bit multiply-accumulates of `vpdpbusd` on registers, nothing loaded or stored."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

CHAINS = 24
LANES = 16
MACS = 64
"""Of one instruction."""
ROUNDS = 20_000_000


def gigamacs(threads: int) -> float:
    """GMAC/s of `threads` cores together, by the wall clock."""
    burn(10, 1)
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(lambda seed: burn(ROUNDS, seed), range(threads)))
        return threads * ROUNDS * CHAINS * MACS / (time.perf_counter() - began) / 1e9


@intrinsic
def _chains(typing_context, rounds, seed):
    def emit(context, builder, signature, args):
        vector, wide = ir.VectorType(ir.IntType(32), LANES), ir.IntType(64)
        name = "llvm.x86.avx512.vpdpbusd.512"
        multiply_add = ir.Function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        narrow = builder.trunc(args[1], ir.IntType(32))
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), narrow, ir.IntType(32)(0))
        inputs = builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0] * LANES))
        entry, loop, done = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(wide)
        index.add_incoming(wide(0), entry)
        sums = [builder.phi(vector) for _ in range(CHAINS)]
        results = []
        for i, phi in enumerate(sums):
            phi.add_incoming(ir.Constant(vector, [i] * LANES), entry)
            results.append(builder.call(multiply_add, [phi, inputs, inputs]))
            phi.add_incoming(results[-1], loop)
        following = builder.add(index, wide(1))
        index.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[0]), loop, done)
        builder.position_at_end(done)
        total = results[0]
        for result in results[1:]:
            total = builder.add(total, result)
        return builder.sext(builder.extract_element(total, ir.IntType(32)(0)), wide)

    return types.int64(types.int64, types.int64), emit


@njit(nogil=True)
def burn(rounds, seed):
    """`rounds` rounds on one thread."""
    return _chains(rounds, seed)
