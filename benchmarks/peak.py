"""The most that one core can do: 8-bit multiply-accumulates on registers, nothing loaded or stored, by path.

Each path has the instructions of its inner loop: `tdpbusd` on full tiles, `vpdpbusd` in 512 or 256 bits, `vpmaddubsw` +
`vpaddw` in 256, and for the portable path what LLVM makes of products of 16-bit integers, `vpmaddwd` + `vpaddd` where
the processor has them.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from hmdf.sim.kernels.paths import Path, amx, avx2, avxvnni, choose_path, neondot, neoni8mm, portable, vnni512
from hmdf.sim.kernels.paths.loops import Scheme

ROUNDS = 10_000_000


class Peak(NamedTuple):
    """Fields: what is measured, in words; MACs of one round of `burn`; burn(rounds, seed), on one thread."""

    instructions: str
    macs: int
    burn: Callable[[int, int], int]


def _peak(instructions: str, scheme: Scheme, chains: int) -> Peak:
    """`chains` accumulators in flight: as many as registers hold, more than the latency needs."""

    @intrinsic
    def run(typing_context, rounds, seed):
        def emit(context, builder, signature, args):
            return _emit_chains(builder, scheme, chains, *args)

        return types.int64(types.int64, types.int64), emit

    @njit(nogil=True)
    def burn(rounds, seed):
        return run(rounds, seed)

    return Peak(instructions, chains * scheme.lanes * scheme.position_bytes, burn)


def _peak_of_tiles() -> Peak:
    """Four tiles of sums, two of messages, two of weights: the registers of amx.py."""

    @intrinsic
    def run(typing_context, rounds):
        def emit(context, builder, signature, args):
            loop, done, entry = builder.append_basic_block("loop"), builder.append_basic_block("done"), builder.block
            builder.branch(loop)
            builder.position_at_end(loop)
            index = builder.phi(args[0].type)
            index.add_incoming(args[0].type(0), entry)
            for sums, messages, weights in ((0, 4, 6), (2, 5, 6), (1, 4, 7), (3, 5, 7)):
                amx.emit(builder, "tdpbusd", *map(ir.IntType(8), (sums, messages, weights)))
            following = builder.add(index, args[0].type(1))
            index.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed("<", following, args[0]), loop, done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return types.void(types.int64), emit

    @njit(nogil=True)
    def burn(rounds, seed):
        amx.load_configuration(16)
        run(rounds)
        amx.release()
        return seed

    return Peak("tdpbusd, 16 x 16 x 64 bytes", 4 * 16 * 16 * 64, burn)


def _emit_chains(builder: Any, scheme: Scheme, chains: int, rounds: Any, seed: Any) -> Any:
    wide, words = ir.IntType(64), ir.VectorType(ir.IntType(32), scheme.lanes)
    narrow = builder.trunc(seed, ir.IntType(32))
    first = builder.insert_element(ir.Constant(words, ir.Undefined), narrow, ir.IntType(32)(0))
    inputs = builder.shuffle_vector(first, ir.Constant(words, ir.Undefined), ir.Constant(words, [0] * scheme.lanes))
    entry, loop, done = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(wide)
    index.add_incoming(wide(0), entry)
    sums = [builder.phi(scheme.sums) for _ in range(chains)]
    results = []
    for i, phi in enumerate(sums):
        phi.add_incoming(ir.Constant(scheme.sums, [i] * scheme.sums.count), entry)
        results.append(scheme.emit(builder, phi, inputs, _opaque(builder, inputs)))
        phi.add_incoming(results[-1], loop)
    following = builder.add(index, wide(1))
    index.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, rounds), loop, done)
    builder.position_at_end(done)
    total = results[0]
    for result in results[1:]:
        total = builder.add(total, result)
    return builder.sext(builder.extract_element(total, ir.IntType(32)(0)), wide)


def _opaque(builder: Any, vector: Any) -> Any:
    """The same vector, as if it could be another: LLVM would make products that are equal once."""
    kind = ir.FunctionType(vector.type, [vector.type])
    return builder.asm(kind, "", "=x,0" if platform.machine() in ("x86_64", "AMD64") else "=w,0", [vector], True)


_PEAKS: dict[type, Peak] = {
    amx.Amx: _peak_of_tiles(),
    vnni512.Vnni512: _peak("vpdpbusd, 512 bits", vnni512.QUADS_512, 24),
    avxvnni.AvxVnni: _peak("vpdpbusd, 256 bits", avxvnni.QUADS_VNNI, 12),
    avx2.Avx2: _peak("vpmaddubsw + vpaddw, 256 bits", avx2.QUADS_AVX2, 12),
    neoni8mm.NeonI8mm: _peak("usdot", neoni8mm.QUADS_I8MM, 24),
    neondot.NeonDot: _peak("sdot", neondot.QUADS_NEON, 24),
    portable.Portable: _peak("products of 16-bit integers, by LLVM", portable.BYTE_PAIRS_ANYWHERE, 6),
}


def peak_of(path: Path | None = None) -> Peak:
    """Of a path, or of the one that the simulator chooses."""
    return _PEAKS[type(path or choose_path())]


def gigamacs(threads: int, path: Path | None = None) -> float:
    """GMAC/s of `threads` cores together, by the wall clock."""
    peak = peak_of(path)
    peak.burn(10, 1)
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(lambda seed: peak.burn(ROUNDS, seed), range(1, threads + 1)))
        return threads * ROUNDS * peak.macs / (time.perf_counter() - began) / 1e9


if __name__ == "__main__":
    chosen = peak_of()
    print(f"{chosen.instructions}: {gigamacs(1):.0f} GMAC/s of one core")
