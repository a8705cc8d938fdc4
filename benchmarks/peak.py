"""The most that one core can do on a path of the simulator: 8-bit multiply-accumulates on registers, nothing loaded.

`vnni512`: vpdpbusd. `avx2`: vpmaddubsw and vpaddw, the sums of two products in 16 bits. `portable`: products of 16 bits
in the vector operations that the path itself is made of. Only what a path's processor has is ever emitted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from hmdf.sim.kernels import dot
from hmdf.sim.kernels.lanes import VECTOR

ROUNDS = 5_000_000


class Peak(NamedTuple):
    """How a path multiplies and accumulates.

    Attributes:
        instructions: for tables.
        macs: of one step of one chain.
        chains: independent sums, as many as its registers hold.
        vector: of a sum.
        step: (builder, sum, weights) -> the next sum. The sum is a factor too, so that nothing leaves the loop.
    """

    instructions: str
    macs: int
    chains: int
    vector: ir.VectorType
    step: Callable[..., Any]


def _avx2(builder: Any, total: Any, weights: Any) -> Any:
    inputs, weights = (builder.bitcast(x, dot._BYTES_256) for x in (total, weights))
    return builder.add(total, dot._products_of_quads(builder, inputs, weights))


PEAKS = {
    "vnni512": Peak("vpdpbusd", 64, 24, VECTOR, lambda b, total, weights: dot._emit_quads(b, total, total, weights)),
    "avx2": Peak("vpmaddubsw + vpaddw", 32, 12, dot._SHORTS_256, _avx2),
    "portable": Peak(
        "16-bit products", 32, 6, VECTOR, lambda b, total, weights: dot._emit_pairs(b, total, total, weights)
    ),
}


def path_name() -> str:
    """Name of the path that the simulator takes here."""
    chosen = type(dot.choose_path())
    return next(name for name, (path, _) in dot.PATHS.items() if isinstance(path, chosen))


def gigamacs(threads: int, path: str = "") -> float:
    """GMAC/s of `threads` cores together on a path, by the wall clock."""
    peak, run = PEAKS[path or path_name()], burner(path or path_name())
    run(10, 1)
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(lambda seed: run(ROUNDS, seed), range(threads)))
        return threads * ROUNDS * peak.chains * peak.macs / (time.perf_counter() - began) / 1e9


@cache
def burner(path: str) -> Callable[[int, int], int]:
    """A compiled function of (rounds, seed) that does so many steps of every chain on one thread."""
    peak = PEAKS[path]

    @intrinsic
    def chains(typing_context, rounds, seed):
        def emit(context, builder, signature, args):
            wide, lane = ir.IntType(64), peak.vector.element
            first = builder.insert_element(
                ir.Constant(peak.vector, ir.Undefined), builder.trunc(args[1], lane), ir.IntType(32)(0)
            )
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), peak.vector.count), [0] * peak.vector.count)
            weights = builder.shuffle_vector(first, ir.Constant(peak.vector, ir.Undefined), zeros)
            entry, loop, done = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("done")
            builder.branch(loop)
            builder.position_at_end(loop)
            index = builder.phi(wide)
            index.add_incoming(wide(0), entry)
            sums = [builder.phi(peak.vector) for _ in range(peak.chains)]
            results = []
            for i, phi in enumerate(sums):
                phi.add_incoming(ir.Constant(peak.vector, [i] * peak.vector.count), entry)
                results.append(peak.step(builder, phi, weights))
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
        return chains(rounds, seed)

    return burn


if __name__ == "__main__":
    for name in dot.paths_here():
        print(f"{name:10}{gigamacs(1, name):8.0f} GMAC/s a core ({PEAKS[name].instructions})")
