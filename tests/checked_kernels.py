"""The simulator's kernels with bounds checked: every load and store first asks whether its bytes lie in its array.

The code is the same; the checks are put into what Numba hands to LLVM, so that none can be forgotten. Each array that
the kernels are given lives in a slot of address space of its own, 32 GiB from the next: an index that is wrong by less
cannot meet another array. Tables may only be read, and while a population is at work, nothing in the message arenas but
its own messages may be written.
"""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import codegen
from numba.core.caching import NullCache

from hmdf.sim.executor import Taps
from hmdf.sim.kernels import engine, workspace
from hmdf.sim.kernels.compiling import _OPTIONS
from hmdf.sim.kernels.memory import Arenas, Model, Outcome, Scratch
from hmdf.sim.kernels.team import Team
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator

SLOTS, SLOT_BITS, PAGE, STACK = 256, 35, mmap.PAGESIZE, 1 << 20
MAP_FIXED, MAP_NORESERVE = 0x10, 0x4000  # of Linux; Python does not name them
FIELDS = ("begin", "length", "period", "low", "high")
"""Of a slot: where its array begins and how long it is; in each period, bytes [low, high) may be written."""
FAILURE = ("count", "site", "address", "size", "align", "write")
"""What is kept: how many accesses failed, and the first."""
TILES, TILE_ROW = ("llvm.x86.tileloadd64", "llvm.x86.tilestored64"), 64
"""Instructions that read and write matrix tiles, and bytes of a row."""
_INT64 = ir.IntType(64)


class OutOfBounds(Exception):  # noqa: N818 - the name says what happened
    """A kernel read or wrote outside the array that it was given."""


class Memory:
    """Slots for arrays, and the table of them that the checks read."""

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        flags = [ctypes.c_int] * 3
        self.libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *flags, ctypes.c_long]
        self.libc.mmap.restype = ctypes.c_void_p
        self.libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        self.table = np.zeros((SLOTS, len(FIELDS)), np.int64)
        self.failure = np.zeros(len(FAILURE), np.int64)
        self.refuge = np.zeros(256, np.uint8)  # where an access that failed goes instead
        self.sites: list[str] = []
        self.arrays: dict[int, np.ndarray] = {}
        self.base = self._reserve(0, 0)
        self.forget()

    def _reserve(self, address: int, fixed: int) -> int:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE | fixed
        found = self.libc.mmap(address or None, SLOTS << SLOT_BITS, 0, flags, -1, 0)
        if found in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "no address space for the checked kernels")
        return int(found)

    def forget(self) -> None:
        """All slots are free again."""
        self._reserve(self.base, MAP_FIXED)  # what was there is gone
        self.arrays, self.table[:], self.failure[:] = {}, 0, 0
        self.table[:, FIELDS.index("period")] = 1

    def slot_of(self, array: np.ndarray) -> int:
        """Address of the slot that stands for an array; slot 0 stays empty."""
        number = len(self.arrays) + 1
        assert number < SLOTS
        begin = self.base + (number << SLOT_BITS) + PAGE
        pages = -(-array.nbytes // PAGE) + 1
        assert self.libc.mprotect(begin - PAGE, (pages + 1) * PAGE, mmap.PROT_READ | mmap.PROT_WRITE) == 0
        self.table[number] = begin, array.nbytes, max(array.nbytes, 1), 0, 0
        self.arrays[begin] = array
        return begin

    def open(self, address: int, period: int = 0, low: int = 0, high: int = 0) -> None:
        """Bytes [low, high) of each period may be written; all of them without a period."""
        row = self.table[(address - self.base) >> SLOT_BITS]
        row[2:] = (period, low, high) if period else (max(int(row[1]), 1), 0, row[1])

    def copy(self, inward: bool) -> None:
        for begin, array in self.arrays.items():
            there = np.frombuffer((ctypes.c_uint8 * array.nbytes).from_address(begin), np.uint8)
            here = array.reshape(-1).view(np.uint8)
            np.copyto(*((there, here) if inward else (here, there)))

    def require_none_failed(self) -> None:
        if self.failure[0]:
            found = dict(zip(FAILURE, self.failure.tolist(), strict=True))
            slot = (found["address"] - self.base) >> SLOT_BITS
            begin, length = self.table[slot, :2].tolist() if 0 < slot < SLOTS else (0, 0)
            raise OutOfBounds(
                f"{found['count']} accesses, the first {'writes' if found['write'] else 'reads'} {found['size']} bytes "
                f"at {found['address'] - begin} of an array of {length} bytes (alignment {found['align']}): "
                f"{self.sites[found['site']]}"
            )


_memory = Memory()
_compiled: Any = None


class CheckedSimulator(Simulator):
    """The simulator on one thread, its kernels checked; after the first one, no other works in its process."""

    name = "checked"

    def __init__(self, **options: Any) -> None:
        super().__init__(threads=1, **options)
        install()

    def run(self, program: Program, messages: np.ndarray) -> Taps:
        """As Simulator.run.

        Raises:
            OutOfBounds: an access outside its array; what is computed after the first one means nothing.
        """
        _memory.forget()
        return super().run(program, messages)


def install() -> None:
    """From here on, this process compiles the kernels with checks."""
    global _compiled
    if _compiled is not None:
        return
    assert not engine.bind.overloads, "this process has already compiled the kernels without checks"
    _compiled = numba.njit(engine.run.py_func, **_OPTIONS)  # not kept on disk
    workspace._address = _memory.slot_of
    engine.run = _run


def _run(
    path: Any,
    model: Model,
    arenas: Arenas,
    scratch: Scratch,
    outcome: Outcome,
    team: Team,
    samples: int,
    counted: bool,
    *part: int,
) -> None:
    """As engine.run, population by population."""
    buffers, populations = _memory.arrays[model.buffers], _memory.arrays[model.populations]
    _memory.copy(inward=True)
    for address in (*scratch, *outcome):
        _memory.open(address)
    index, last = part
    while index < last:
        stop = max(index, int(populations[index]["loop_end"])) + 1
        rows = [buffers[populations[each]["buffer"]] for each in range(index, stop)]
        for number, address in enumerate(arenas):
            item, mine = _memory.arrays[address].itemsize, [row for row in rows if row["arena"] == number]
            if not 0 < index < len(populations) - 1:
                mine = []
            starts = [int(row["offset"] - row["corner"]) * item for row in mine]
            ends = [at + int(row["steps"] * row["plane"]) * item for at, row in zip(starts, mine, strict=True)]
            low, high = min(starts, default=0), max(ends, default=0)
            _memory.open(address, max(1, int((mine or rows)[0]["sample"]) * item), low, high)
        with checks_compiled_in():
            _compiled(path, model, arenas, scratch, outcome, team, samples, counted, index, stop)
        _memory.require_none_failed()
        index = stop
    _memory.copy(inward=False)
    _require_empty_frames(buffers, populations, [_memory.arrays[address] for address in arenas], samples)


def _require_empty_frames(buffers: np.ndarray, populations: np.ndarray, arenas: list[np.ndarray], samples: int) -> None:
    """The zeros that convolutions pad with are still zeros."""
    for row, population in zip(buffers, populations[:-1], strict=False):
        sample, plane, first = int(row["sample"]), int(row["plane"]), int(row["offset"] - row["corner"])
        planes = arenas[row["arena"]][: samples * sample].reshape(samples, sample)
        planes = planes[:, first : first + int(row["steps"]) * plane].reshape(-1, plane // row["row"], row["row"])
        top, left = divmod(int(row["corner"]), int(row["row"]))
        height, width = population["pixels"] // population["width"], population["width"] * row["pixel"]
        inside = np.zeros(planes.shape[1:], bool)
        inside[top : top + height, left : left + width] = True
        if planes[:, ~inside].any():
            raise OutOfBounds("a frame of zeros was written to")
    for row in buffers[len(populations) - 1 :]:
        sample, first = int(row["sample"]), int(row["offset"] - row["corner"])
        if (
            arenas[row["arena"]][: samples * sample]
            .reshape(samples, sample)[:, first : first + int(row["plane"])]
            .any()
        ):
            raise OutOfBounds("the step of zeros before the first was written to")


# --------------------------------------------------------------------------------- checks


@contextmanager
def checks_compiled_in() -> Iterator[None]:
    """What Numba compiles meanwhile is checked. From then on this process keeps no kernels on disk, nor takes them from
    there: they would contain functions with checks, of this process's arrays.
    """
    engine.run._cache = NullCache()
    add = codegen.CPUCodeLibrary.add_ir_module

    def add_checked(library: Any, module: ir.Module) -> None:
        instrument(module, library.codegen.target_data)
        add(library, module)

    codegen.CPUCodeLibrary.add_ir_module = add_checked
    try:
        yield
    finally:
        codegen.CPUCodeLibrary.add_ir_module = add


def instrument(module: ir.Module, target_data: Any) -> None:
    """Put a check before every load and store of a module, but those of the stack and of Numba's own arguments."""
    check = None
    for function in list(module.functions):
        if re.match(r"_ZN7cpython|cfunc\.|numba\.|NRT_|nrt_", function.name):
            continue  # what unpacks Python's objects
        for block in function.blocks:
            for instruction in list(block.instructions):
                write = isinstance(instruction, ir.instructions.StoreInstr)
                if not write and not isinstance(instruction, ir.instructions.LoadInstr):
                    if isinstance(instruction, ir.instructions.CallInstr):
                        if "llvm.mem" in str(instruction.callee):
                            assert all(_is_local(a) for a in instruction.args if isinstance(a.type, ir.PointerType))
                        if instruction.callee.name in TILES:
                            check = check or _define_check(module)
                            _check_tile(module, function, block, instruction, check)
                    continue
                pointer = instruction.operands[write]
                if _is_local(pointer):
                    continue
                check = check or _define_check(module)
                kind = instruction.operands[0].type if write else instruction.type
                align = instruction.align or kind.get_abi_alignment(target_data)
                site = len(_memory.sites)
                _memory.sites.append(f"{function.name}: {str(instruction).strip()}")
                builder = ir.IRBuilder(block)
                builder.position_before(instruction)
                numbers = (kind.get_abi_size(target_data), align, int(write), site)
                address = builder.call(
                    check, [builder.ptrtoint(pointer, _INT64), *(ir.Constant(_INT64, n) for n in numbers)]
                )
                instruction.operands[write] = builder.inttoptr(address, pointer.type)
                instruction._clear_string_cache()


def _check_tile(module: ir.Module, function: Any, block: Any, call: Any, check: ir.Function) -> None:
    """Of a matrix tile, check the first and the last row; where they fail, all rows are the refuge."""
    register, pointer, stride = call.args
    builder = ir.IRBuilder(block)
    builder.position_before(call)
    configuration = builder.alloca(ir.ArrayType(ir.IntType(8), 64))
    bytes_ = builder.bitcast(configuration, ir.IntType(8).as_pointer())
    name = "llvm.x86.sttilecfg"
    ask = module.globals.get(name) or ir.Function(module, ir.FunctionType(ir.VoidType(), [bytes_.type]), name)
    builder.call(ask, [bytes_])
    rows = builder.zext(builder.load(builder.gep(bytes_, [_INT64(48 + register.constant)])), _INT64)
    first = builder.ptrtoint(pointer, _INT64)
    last = builder.add(first, builder.mul(stride, builder.sub(rows, _INT64(1))))
    site = len(_memory.sites)
    _memory.sites.append(f"{function.name}: {str(call).strip()}")
    numbers = [_INT64(n) for n in (TILE_ROW, 1, int("stored" in call.callee.name), site)]
    checked = [builder.call(check, [address, *numbers]) for address in (first, last)]
    fits = builder.and_(builder.icmp_unsigned("==", checked[0], first), builder.icmp_unsigned("==", checked[1], last))
    refuge = _INT64(_memory.refuge.ctypes.data // 64 * 64 + 64)
    pointer = builder.inttoptr(builder.select(fits, first, refuge), pointer.type)
    call.operands[2:4] = pointer, builder.select(fits, stride, _INT64(0))
    call._clear_string_cache()


def _is_local(pointer: Any) -> bool:
    """Whether a pointer is to the stack, a constant, or what Numba returns results by."""
    while not isinstance(pointer, ir.AllocaInstr | ir.GlobalVariable):
        if isinstance(pointer, ir.Argument):
            return pointer.name in ("retptr", "excinfo")
        if isinstance(pointer, ir.instructions.GEPInstr):
            pointer = pointer.pointer
        elif isinstance(pointer, ir.instructions.CastInstr) and pointer.opname == "bitcast":
            pointer = pointer.operands[0]
        else:
            return isinstance(pointer, ir.Constant)
    return True


def _define_check(module: ir.Module) -> ir.Function:
    """(address, size, alignment, whether it writes, site) -> the address, or that of a refuge."""
    function = ir.Function(module, ir.FunctionType(_INT64, [_INT64] * 5), "hmdf_checked")
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    address, size, align, write, site = function.args
    b = ir.IRBuilder(function.append_basic_block())

    def constant(value: int) -> ir.Constant:
        return ir.Constant(_INT64, value)

    def at(array: np.ndarray, index: Any) -> Any:
        return b.gep(b.inttoptr(constant(array.ctypes.data), _INT64.as_pointer()), [index])

    slot = b.lshr(b.sub(address, constant(_memory.base)), constant(SLOT_BITS))
    slot = b.select(b.icmp_unsigned("<", slot, constant(SLOTS)), slot, constant(0))
    row = b.mul(slot, constant(len(FIELDS)))
    begin, length, period, low, high = (
        b.load(at(_memory.table, b.add(row, constant(field)))) for field in range(len(FIELDS))
    )
    offset = b.sub(address, begin)
    inside = b.and_(b.icmp_unsigned("<", offset, length), b.icmp_unsigned("<=", b.add(offset, size), length))
    phase = b.urem(offset, period)
    open_ = b.and_(b.icmp_unsigned(">=", phase, low), b.icmp_unsigned("<=", b.add(phase, size), high))
    # Numba's own pointers to variables on the stack, such as a loop's counter: nowhere near a slot.
    here = b.ptrtoint(b.alloca(_INT64), _INT64)
    on_stack = b.icmp_unsigned("<", b.add(b.sub(address, here), constant(STACK)), constant(2 * STACK))
    allowed = b.and_(inside, b.or_(open_, b.icmp_unsigned("==", write, constant(0))))
    allowed = b.and_(allowed, b.icmp_unsigned("==", b.urem(address, align), constant(0)))
    with b.if_then(b.not_(b.or_(allowed, on_stack))):
        count = b.load(at(_memory.failure, constant(0)))
        b.store(b.add(count, constant(1)), at(_memory.failure, constant(0)))
        with b.if_then(b.icmp_unsigned("==", count, constant(0))):
            for index, value in enumerate((site, address, size, align, write), start=1):
                b.store(value, at(_memory.failure, constant(index)))
        b.ret(constant(_memory.refuge.ctypes.data // 64 * 64 + 64))
    b.ret(address)
    return function
