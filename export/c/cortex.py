"""A program on an Arm Cortex-M: what its C takes of flash and RAM, and the instructions of a sample in QEMU."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.hw_targets.footprint import Footprint
from hmdf.hw_targets.judge.weight_noise import narrowed, signal_to_noise
from hmdf.hw_targets.schema import Target
from hmdf.sim.contract import Synapse, WeightedOp
from hmdf.sim.errors import Mismatch
from hmdf.sim.finding import Finding
from hmdf.sim.program import Program
from hmdf.sim.simulator import simulate

from .executor import execute
from .layout import DTYPES, SIZES, channels_last, message_code
from .source import TEMPLATE, Sources, write_source

COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
FLAGS = ("-mthumb", "-std=c99", "-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections")
SAMPLES = 4
"""Samples that are run in QEMU, at most."""
TIME_LIMIT = 600.0
_HARNESS = TEMPLATE / "cortex"
_ROOMY = {"VECTORS": "0", "FLASH": "0x400", "FLASH_LENGTH": "256M", "RAM": "0x20000000", "RAM_LENGTH": "256M"}
"""Memory that every program fits, to measure what it takes."""


@dataclass(frozen=True)
class Board:
    """A board that QEMU emulates.

    Attributes:
        options: of the compiler.
        flash, ram: (address, bytes); the vector table lies at 0.
        tick: nanoseconds of a tick of SysTick: QEMU lets one pass with each instruction.
    """

    machine: str
    options: tuple[str, ...]
    flash: tuple[int, int]
    ram: tuple[int, int]
    tick: float


_MPS2: dict[str, Any] = {"flash": (0x400, 0x3FFC00), "ram": (0x20000000, 1 << 22), "tick": 40.0}
BOARDS: Mapping[str, Board] = {
    "cortex-m4": Board("mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=soft", "-O2"), **_MPS2),
    "cortex-m7": Board("mps2-an500", ("-mcpu=cortex-m7", "-mfloat-abi=soft", "-O2"), **_MPS2),
    # Compilers make vectors of Helium from loops at -O3.
    "cortex-m55": Board(
        machine="mps3-an547",
        options=("-mcpu=cortex-m55", "-mfloat-abi=hard", "-O3"),
        flash=(0x01000000, 1 << 21),
        ram=(0x21000000, 1 << 22),
        tick=31.25,
    ),
}
"""By core; clocks and memories are those of QEMU's hw/arm/mps2.c and mps2-tz.c."""


def measure(program: Program, target: Target, messages: NDArray[Any] | None = None) -> tuple[Footprint, list[Finding]]:
    """The program on a microcontroller, and why that does not fit.

    Without a cross-compiler code and stack are missing; without QEMU, messages, or room on the target or on QEMU's
    board, the instructions are.

    Args:
        messages: samples for QEMU, (N, 1 or T, *input shape); the first SAMPLES are run.

    Raises:
        ProgramError: the program cannot be written as C.
        CompilerError: the compiler or QEMU failed.
        Mismatch: logits in QEMU are not the simulator's.
    """
    assert target.processor is not None
    board, source = BOARDS[target.processor.core], write_source(program)
    planned = _planned(program, source, target.processor.core)
    if shutil.which(COMPILER) is None:
        return planned, findings(program, target, planned)
    with tempfile.TemporaryDirectory(prefix="hmdf-cortex-") as scratch:
        folder = Path(scratch)
        for name, text in source.files.items():
            (folder / name).write_text(text)
        for name in ("model", "weights", "startup", "application"):
            compiled(folder, board, name)
        footprint = _linked(folder, board, planned)
        misfits = findings(program, target, footprint)
        if messages is not None and not misfits and shutil.which(EMULATOR) is not None and _has_room(board, footprint):
            counts = count(folder, board, program, messages[:SAMPLES])
            footprint = msgspec.structs.replace(
                footprint, instructions=float(np.mean(counts)), instruction_samples=len(counts)
            )
    return footprint, misfits


def _has_room(board: Board, footprint: Footprint) -> bool:
    """Whether the board holds the program, and 64 kB of the C library with its buffers."""
    library = 1 << 16
    return footprint.flash_bytes + library <= board.flash[1] and footprint.ram_bytes + library <= board.ram[1]


# ------------------------------------------------------------------------------ memory


def _planned(program: Program, source: Sources, core: str) -> Footprint:
    """What the C says of itself: without code and stack."""
    ram = {
        "membranes": source.neuron_bytes,
        "arena": source.arena.size,
        "input": int(np.prod(program.input.shape)) * SIZES[message_code(program.input.message)],
        "other": 8 * program.classes + 8,  # logits; the step, in a struct whose alignment is 8
    }
    constants = source.weight_bytes + (source.helium_bytes if core == "cortex-m55" else 0)
    return Footprint(constants, sum(ram.values()), {"constants": constants}, ram, "")


def _linked(folder: Path, board: Board, planned: Footprint) -> Footprint:
    """Flash and RAM from the map of the linked application, the stack from the compiler's figures."""
    link(folder, board.options, _ROOMY, ("application", "startup", "model", "weights"), "application.elf")
    sections, constants = read_map((folder / "application.map").read_text())
    flash = sum(sections.get(name, 0) for name in (".vectors", ".text", ".ARM.exidx", ".data"))
    written = sections.get(".data", 0) + sections.get(".bss", 0)
    stack = deepest((folder / f"{name}.ci").read_text() for name in ("startup", "application", "model"))
    ram = {**planned.ram_by_purpose, "stack": stack}
    ram["other"] = written + stack - sum(size for purpose, size in ram.items() if purpose != "other")
    return Footprint(flash, written + stack, {"constants": constants, "code": flash - constants}, ram, _version(), None)


def read_map(text: str) -> tuple[dict[str, int], int]:
    """(bytes of each output section, bytes of the constants of weights.o) of a map file of GNU ld."""
    _, _, text = text.partition("Linker script and memory map")
    sections = {name: int(size, 16) for name, size in re.findall(r"^(\.\S+)\s+0x\w+\s+0x(\w+)", text, re.MULTILINE)}
    tables = re.findall(r"^ \.rodata\S*\s+0x\w+\s+0x(\w+) \S*weights\.o$", text, re.MULTILINE)
    return sections, sum(int(size, 16) for size in tables)


def deepest(graphs: Any, first: str = "start") -> int:
    """Bytes of stack of the deepest chain of calls from `first`, by the files of gcc's -fcallgraph-info=su.

    The C library's few registers and interrupts are not in it.
    """
    sizes: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    for text in graphs:
        for name, size in re.findall(r'node: { title: "([^"]+)" label: "[^"]*?\\n(\d+) bytes', text):
            sizes[name] = int(size)
        for caller, callee in re.findall(r'edge: { sourcename: "([^"]+)" targetname: "([^"]+)"', text):
            calls.setdefault(caller, set()).add(callee)

    @cache
    def depth(name: str) -> int:  # No function of the C calls itself.
        return sizes.get(name, 0) + max((depth(other) for other in calls.get(name, ())), default=0)

    return depth(first)


# --------------------------------------------------------------------- compiling, running


def compiled(folder: Path, board: Board, source: str | Path, *options: str) -> None:
    """Compile a C file, or that of a name in the folder or the harness; the object lies in the folder, by its name."""
    path = folder / f"{source}.c"
    path = source if isinstance(source, Path) else path if path.exists() else _HARNESS / path.name
    output = ("-I", str(folder), "-c", str(path), "-o", str(folder / f"{path.stem}.o"))
    execute([COMPILER, *board.options, *FLAGS, "-fcallgraph-info=su", *options, *output], TIME_LIMIT)


def link(
    folder: Path, options: tuple[str, ...], memory: Mapping[str, str], objects: tuple[str, ...], output: str,
    libraries: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Link object files of a folder for the memory given, with newlib-nano; the map lies beside the output."""
    script = re.sub(r"@(\w+)@", lambda match: memory[match[1]], (_HARNESS / "board.ld").read_text())
    (folder / "board.ld").write_text(script)
    flags = ("-mthumb", "-nostartfiles", "-T", str(folder / "board.ld"), "--specs=nano.specs", *libraries)
    flags += ("-Wl,--gc-sections", f"-Wl,-Map={folder / Path(output).with_suffix('.map')}")
    inputs = [str(folder / f"{name}.o") for name in objects]
    execute([COMPILER, *options, *flags, *inputs, "-o", str(folder / output)], TIME_LIMIT)


def count(folder: Path, board: Board, program: Program, messages: NDArray[Any]) -> list[float]:
    """Instructions of each sample, of a folder with the objects of the model and of the start-up.

    Raises:
        Mismatch: logits are not the simulator's.
    """
    inputs = channels_last(messages, program.input.shape)
    inputs.astype(DTYPES[message_code(program.input.message)]).tofile(folder / "inputs")
    compiled(folder, board, "count")
    rows = [line.split() for line in run_in_qemu(folder, board, ("count", "startup", "model", "weights")).splitlines()]
    logits = np.array([[int(n, 16) for n in row[:-1]] for row in rows], np.uint64).astype(np.int64)
    expected = simulate(program, messages, threads=1).logits
    if logits.shape != expected.shape or (logits != expected).any():
        raise Mismatch(f"logits on {board.machine} in QEMU are {logits.tolist()}, the simulator's {expected.tolist()}")
    return [int(row[-1]) * board.tick for row in rows]


def run_in_qemu(folder: Path, board: Board, objects: tuple[str, ...]) -> str:
    """Link a program for QEMU's board and run it, with the files of `folder` at hand; returns what it prints."""
    memory = {"VECTORS": "0"}
    for name, (address, size) in (("FLASH", board.flash), ("RAM", board.ram)):
        memory |= {name: hex(address), f"{name}_LENGTH": str(size)}
    link(folder, board.options, memory, objects, "count.elf", ("--specs=rdimon.specs",))
    machine = ["-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0"]
    hosting = ["-semihosting-config", "enable=on,target=native", "-kernel", "count.elf"]
    return execute([EMULATOR, *machine, *hosting], TIME_LIMIT, folder)


@cache
def _version() -> str:
    return execute([COMPILER, "--version"], TIME_LIMIT).splitlines()[0]


# ---------------------------------------------------------------------------- findings


def findings(program: Program, target: Target, footprint: Footprint) -> list[Finding]:
    """Memory that is too small, each with its fix."""
    assert target.processor is not None
    found = []
    for resource, needed, parts, available, other in (
        ("flash", footprint.flash_bytes, footprint.flash_by_purpose, target.processor.flash_bytes, _narrower_weights),
        ("ram", footprint.ram_bytes, footprint.ram_by_purpose, target.processor.ram_bytes, _narrower_membranes),
    ):
        if needed <= available:
            continue
        name = {"flash": "flash", "ram": "RAM"}[resource]
        listed = ", ".join(f"{purpose} {size:,}" for purpose, size in parts.items())
        problem = f"it takes {needed:,} bytes of {name} ({listed}), {target.name} has {available:,}"
        fix = f"a part with {-(-needed // 1024):,} KiB of {name}{other(program, needed, available)}"
        found.append(Finding("program", problem, fix, resource=resource, needed=needed, available=available))
    return found


def _narrower_weights(program: Program, needed: int, available: int) -> str:
    """4-bit weights instead of 8-bit ones, if that suffices."""
    wide = {s.name: s.op for s in program.synapses if isinstance(s.op, WeightedOp) and s.op.weight_bits == 8}
    if not wide:
        return ""
    slim = {name: msgspec.structs.replace(op, weight=op.weight >> 4, weight_bits=4) for name, op in wide.items()}
    nodes = [
        msgspec.structs.replace(node, op=slim.get(node.name, node.op)) if isinstance(node, Synapse) else node
        for node in program.nodes
    ]
    narrow = msgspec.structs.replace(program, nodes=tuple(nodes))
    left = needed - write_source(program).weight_bytes + write_source(narrow).weight_bytes
    if left > available:
        return ""
    noise = min(signal_to_noise(op.weight, narrowed(op.weight, 4)) for op in wide.values())
    cost = f"signal to noise {noise:.1f} dB or more, no retraining counted"
    return f"; or weight_bits = 4 in --config: {left:,} bytes, {cost}"


def _narrower_membranes(program: Program, needed: int, available: int) -> str:
    """Membranes of 16 bits instead of 32, if that suffices."""
    left = needed - sum(s.count * max(SIZES[s.code] - 2, 0) for s in write_source(program).states)
    if left > available or program.state_bits <= 16:
        return ""
    return f"; or 16-bit membranes (state_bits 16 in a target file of your own): {left:,} bytes"
