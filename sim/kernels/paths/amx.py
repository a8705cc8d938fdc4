"""Matrix tiles: products of 16 pixels with 16 channels, 64 bytes of a patch at a time, by AMX.

A tile register holds up to 16 rows of 64 bytes. The instruction `tdpbusd` adds to a pixels x channels tile of 32-bit
sums the product of a tile of messages, a row per pixel, with a tile of weights, a row per four messages. Rows are read
at one distance from each other, so that they are pixels of one row of an image; 16 or a divisor of the image's width.

    tmm0..3   sums: 2 stretches of pixels x 2 vectors of 16 channels, or 4 x 1 where stretches are short
    tmm4, 5   messages of the stretches
    tmm6, 7   weights of the vectors
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from ..compiling import intrinsic, kernel
from .path import QUADS, QUADS_IN_TILES, Kernel, Path
from .vnni512 import events_512, on_512_bits

BYTES = 64
"""Of a tile's row: what a patch's runs are rounded up to, with weights of 0."""
ROWS = 16
_STRIDE = 128
"""Bytes from one row of weights, and from one pixel's sums, to the next: those of 32 channels."""
_LEAST_ROWS = 10
"""Fewer rows take no less time, measured: 4 take as long as 10."""
_VNNI = 8
"""How many times faster full tiles are than vpdpbusd."""
_MOST_IMAGE_ROWS = 8
"""Pixels of an image's row that fill a tile so badly that points are faster, measured."""
_INT8, _INT64 = ir.IntType(8), ir.IntType(64)
_BYTE = _INT8.as_pointer()
_SUMS, _MESSAGES, _WEIGHTS = 0, 4, 6


class Amx(Path):
    """Matrix tiles, and Vnni512 where they do not fit."""

    FEATURES = ("amx-int8", "avx512vnni", "avx512bw")
    EVENT_SHARE = 0.05
    BLOCK_BYTES = 10 << 20  # tiles take messages faster than they come from behind the second-level cache

    def may_be_used(self) -> bool:
        return sys.platform == "linux" and _may_use_tiles()

    def kind(self, taps, largest, width):
        return QUADS_IN_TILES if worthwhile(width, taps.shape[2]) else QUADS

    def prefers_points(self, width: int, channels: int) -> bool:
        """Whether tiles are better filled with rows of points than with rows of images."""
        return rows_of(width) <= _MOST_IMAGE_ROWS and channels % BYTES == 0

    @staticmethod
    def tile() -> Kernel:
        on_512, in_tiles = on_512_bits(), _products()

        def tile(path, kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_, rows):
            if kind == QUADS_IN_TILES:
                in_tiles(source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, rows)
            else:
                on_512(kind, source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, bytes_)

        return tile

    @staticmethod
    def rows() -> Kernel:
        in_tiles = _products()

        def rows(path, kind, source, apart, offsets, row_bytes, weights, sums, rows, lanes):
            in_tiles(source, offsets, offsets, 1, row_bytes, weights, sums, ROWS, lanes, ROWS)

        return rows

    @staticmethod
    def events() -> Kernel:
        return events_512()


@cache
def _may_use_tiles() -> bool:
    """Whether Linux lets this process use AMX's registers: it must be asked."""
    arch_prctl, request, tile_data = 158, 0x1023, 18  # ARCH_REQ_XCOMP_PERM: arch/x86/include/uapi/asm/prctl.h
    return ctypes.CDLL(None).syscall(arch_prctl, request, tile_data) == 0


def rows_of(width: int) -> int:
    """Pixels of a tile for images of a width: all of a tile's pixels are in one row of the image."""
    return max(rows for rows in range(1, ROWS + 1) if width % rows == 0)


def padded_runs(taps: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights (output, run, element) with zeros after each run, so that whole rows of tiles can be read."""
    return np.pad(taps, ((0, 0), (0, 0), (0, -taps.shape[2] % BYTES)))


def worthwhile(width: int, run_bytes: int) -> bool:
    """Whether tiles are faster than vpdpbusd for images of a width and patches of such runs."""
    rows = rows_of(width)
    used = rows / max(rows, _LEAST_ROWS) * run_bytes / (-(-run_bytes // BYTES) * BYTES)
    return used * _VNNI > 1


# --------------------------------------------------------------------------- configuration


def _configuration(rows: int) -> bytes:
    """What `ldtilecfg` reads: palette 1, bytes of a row and rows of every register."""
    per_register = [ROWS if register >= _WEIGHTS else rows for register in range(8)]
    columns = b"".join(BYTES.to_bytes(2, "little") for _ in per_register)
    return bytes([1]) + bytes(15) + columns + bytes(16) + bytes(per_register) + bytes(8)


def configure(path, rows):
    """Set the tile registers up for stretches of `rows` pixels; 0: give them back."""
    raise NotImplementedError("only compiled code calls this")


@overload(configure)
def _overload_configure(path, rows):
    if path.instance_class is not Amx:
        return lambda path, rows: None

    def configure_amx(path, rows):
        if rows > 0:
            load_configuration(rows)
        else:
            release()

    return configure_amx


@intrinsic
def load_configuration(typing_context, rows):
    def generate(context, builder, signature, args):
        all_ = b"".join(_configuration(rows) for rows in range(1, ROWS + 1))
        kind = ir.ArrayType(_INT8, len(all_))
        table = ir.GlobalVariable(builder.module, kind, builder.module.get_unique_name("tile_configurations"))
        table.initializer, table.global_constant, table.linkage = ir.Constant(kind, bytearray(all_)), True, "internal"
        offset = builder.mul(builder.sub(args[0], _INT64(1)), _INT64(BYTES))
        emit(builder, "ldtilecfg", builder.gep(builder.bitcast(table, _BYTE), [offset]))
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def release(typing_context):
    def generate(context, builder, signature, args):
        emit(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


def emit(builder, name, *args):
    """An instruction; registers are 8-bit constants. LLVM takes each to touch memory, and keeps their order."""
    name = f"llvm.x86.{name}"
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [a.type for a in args]), name)
    builder.call(function, args)


# ------------------------------------------------------------------------------------ loops


def _make_product(stretches, vectors):
    """An intrinsic: sums of `stretches` stretches of pixels x `vectors` vectors of channels.

    Arguments, all int64: address of the source's first message of the step; address of the pixels' offsets; pixels of
    a stretch; address and number of the runs' offsets; tiles of a run; addresses of the weights and of the sums.
    """

    @intrinsic
    def product(typing_context, source, offsets, rows, runs, run_count, run_tiles, weights, sums):
        def generate(context, builder, signature, args):
            _generate(builder, stretches, vectors, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return product


def _generate(b, stretches, vectors, source, offsets, rows, runs, run_count, run_tiles, weights, sums):
    zero, one = _INT64(0), _INT64(1)
    pixels = b.inttoptr(offsets, _INT64.as_pointer())
    of_stretches = [b.load(b.gep(pixels, [b.mul(rows, _INT64(s))])) for s in range(stretches)]
    apart = b.sub(b.load(b.gep(pixels, [one])), of_stretches[0])
    order = [(s, v) for v in range(vectors) for s in range(stretches)]
    for s, v in order:
        emit(b, "tilezero", _INT8(_SUMS + vectors * s + v))
    entry = b.block
    over_runs, over_tiles, run_done, done = (b.append_basic_block(n) for n in ("runs", "tiles", "run_done", "done"))
    b.branch(over_runs)

    b.position_at_end(over_runs)
    run, weight_of_run = b.phi(_INT64), b.phi(_INT64)
    run.add_incoming(zero, entry)
    weight_of_run.add_incoming(weights, entry)
    offset = b.load(b.gep(b.inttoptr(runs, _INT64.as_pointer()), [run]))
    starts = [b.add(source, b.add(start, offset)) for start in of_stretches]
    b.branch(over_tiles)

    b.position_at_end(over_tiles)
    tile, weight = b.phi(_INT64), b.phi(_INT64)
    tile.add_incoming(zero, over_runs)
    weight.add_incoming(weight_of_run, over_runs)
    at = b.mul(tile, _INT64(BYTES))
    # By weights, not by messages: the processor takes new weights in slower than new messages.
    for s, v in order:
        if s == 0:
            row = b.add(weight, _INT64(_STRIDE // 2 * v))
            emit(b, "tileloadd64", _INT8(_WEIGHTS + v), b.inttoptr(row, _BYTE), _INT64(_STRIDE))
        if v == 0:
            messages = b.inttoptr(b.add(starts[s], at), _BYTE)
            emit(b, "tileloadd64", _INT8(_MESSAGES + s % 2), messages, apart)
        emit(b, "tdpbusd", *(_INT8(r) for r in (_SUMS + vectors * s + v, _MESSAGES + s % 2, _WEIGHTS + v)))
    following, next_weight = b.add(tile, one), b.add(weight, _INT64(ROWS * _STRIDE))
    tile.add_incoming(following, over_tiles)
    weight.add_incoming(next_weight, over_tiles)
    b.cbranch(b.icmp_signed("<", following, run_tiles), over_tiles, run_done)

    b.position_at_end(run_done)
    next_run = b.add(run, one)
    run.add_incoming(next_run, run_done)
    weight_of_run.add_incoming(next_weight, run_done)
    b.cbranch(b.icmp_signed("<", next_run, run_count), over_runs, done)

    b.position_at_end(done)
    for s, v in order:
        place = b.add(b.add(sums, _INT64(_STRIDE // 2 * v)), b.mul(rows, _INT64(_STRIDE * s)))
        emit(b, "tilestored64", _INT8(_SUMS + vectors * s + v), b.inttoptr(place, _BYTE), _INT64(_STRIDE))


@cache
def _products() -> Kernel:
    """Sums of pixels x lanes, in stretches of `rows` pixels, as `configure` has set them up; see dot.dot_tile."""
    four_by_one, two_by_one, one_by_one = (_make_product(s, 1) for s in (4, 2, 1))
    two_by_two, one_by_two = (_make_product(s, 2) for s in (2, 1))

    @kernel
    def products(source, offsets, runs, run_count, run_bytes, weights, sums, pixels, lanes, rows):
        tiles = (run_bytes + BYTES - 1) // BYTES
        i = 0
        while i < pixels:
            at, to, left = offsets + 8 * i, sums + _STRIDE * i, (pixels - i) // rows
            if left >= 4:
                # Weights come from the second-level cache: these are used for four stretches.
                for half in range(0, 4 * lanes, _STRIDE // 2):
                    four_by_one(source, at, rows, runs, run_count, tiles, weights + half, to + half)
                i += 4 * rows
            elif left >= 2:
                if lanes > 16:
                    two_by_two(source, at, rows, runs, run_count, tiles, weights, to)
                else:
                    two_by_one(source, at, rows, runs, run_count, tiles, weights, to)
                i += 2 * rows
            else:
                if lanes > 16:
                    one_by_two(source, at, rows, runs, run_count, tiles, weights, to)
                else:
                    one_by_one(source, at, rows, runs, run_count, tiles, weights, to)
                i += rows

    return products
