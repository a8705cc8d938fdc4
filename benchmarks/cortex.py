"""Instructions of 3x3 convolutions with ternary weights and their neurons on Cortex-M, beside CMSIS-NN's in int8.

python benchmarks/cortex.py CMSIS-NN    # a checkout of ARM-software/CMSIS-NN; needs arm-none-eabi-gcc and QEMU
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hmdf.export.c.cortex import BOARDS, Board, compiled, count, run_in_qemu
from hmdf.export.c.source import write_source
from hmdf.sim.contract import Conv2d, HybridFiring, Linear, Message, Population, Port, Synapse
from hmdf.sim.program import Input, Preprocessing, Program, Readout

LAYERS = ((34, 16, 32), (17, 32, 64), (17, 64, 64), (8, 128, 128))
"""Height and width, inputs, outputs: the middle layers of VGG-SNN for N-MNIST, width 16."""
DENSITIES = 0.1, 0.2, 0.3, 0.5, 1.0
YARDSTICK = Path(__file__).with_name("cmsis_convolution.c")
OUT = Path("build/bench/cortex.json")


def main() -> None:
    checkout = Path(sys.argv[1])
    console, rows = Console(width=120), []
    table = Table("core", "layer", "CMSIS-NN", *(f"{d:.0%}" for d in DENSITIES), title="instructions for a MAC; ratio")
    for core, board in BOARDS.items():
        with tempfile.TemporaryDirectory() as scratch:
            objects = library(checkout, board, Path(scratch))
            for layer in LAYERS:
                theirs = cmsis(objects, checkout, board, Path(scratch), layer)
                ours = ternary(board, Path(scratch), layer)
                macs = layer[0] ** 2 * 9 * layer[1] * layer[2]
                cells = [f"{n / macs:.3f}; {n / theirs:.2f}" for n in ours]
                table.add_row(core, "x".join(map(str, layer)), f"{theirs / macs:.3f}", *cells)
                rows.append(
                    {"core": core, "layer": layer, "cmsis": theirs, "ours": dict(zip(DENSITIES, ours, strict=True))}
                )
    console.print(table)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=1))


def library(checkout: Path, board: Board, folder: Path) -> list[str]:
    """CMSIS-NN's int8 convolutions compiled with -O3; names of the objects in the folder."""
    names = []
    sources = sorted((checkout / "Source").glob("ConvolutionFunctions/*s8*.c"))
    for source in [*sources, *sorted((checkout / "Source").glob("NNSupportFunctions/*s8*.c"))]:
        compiled(folder, board, source, "-O3", "-w", "-I", str(checkout / "Include"))
        names.append(source.stem)
    compiled(folder, board, "startup")
    return names


def cmsis(objects: list[str], checkout: Path, board: Board, folder: Path, layer: tuple[int, int, int]) -> float:
    """Instructions of CMSIS-NN's convolution of a layer, with its scaling to int8."""
    size, inputs, outputs = layer
    extents = {"HEIGHT": size, "WIDTH": size, "INPUTS": inputs, "OUTPUTS": outputs}
    defines = [f"-D{name}={value}" for name, value in extents.items()]
    compiled(folder, board, YARDSTICK, "-O3", "-w", *defines, "-I", str(checkout / "Include"))
    return int(run_in_qemu(folder, board, (YARDSTICK.stem, "startup", *objects))) * board.tick


def ternary(board: Board, folder: Path, layer: tuple[int, int, int]) -> list[float]:
    """Instructions of the convolution and its HM-DF neurons at each density: with them less without them."""
    rng = np.random.default_rng(0)
    size, inputs, _ = layer
    shape = (len(DENSITIES), 1, inputs, size, size)
    dense = rng.random(shape) < np.reshape(DENSITIES, (-1, 1, 1, 1, 1))
    messages = dense * rng.integers(1, 16, shape)
    counts = []
    for program in (network(layer, True), network(layer, False)):
        for name, text in write_source(program).files.items():
            (folder / name).write_text(text)
        for name in ("model", "weights"):
            compiled(folder, board, name)
        counts.append(count(folder, board, program, messages))
    return [a - b for a, b in zip(*counts, strict=True)]


def network(layer: tuple[int, int, int], with_it: bool) -> Program:
    rng = np.random.default_rng(0)
    size, inputs, outputs = layer
    spike, zero = Message(4, False, 1.0), np.zeros((1, 1), np.int32)
    weight = rng.integers(-1, 2, (outputs, inputs, 3, 3)).astype(np.int8)
    port = Port("conv", rng.integers(500, 4000, (1, outputs)), 4)
    dynamics = HybridFiring(zero + 2048, 12, zero + 4000, 8)
    head = np.ones((1, inputs * size * size), np.int8)
    nodes = (
        Synapse("conv", "input", Conv2d(weight, 2, (1, 1), (1, 1))),
        Population("neurons", (outputs, size, size), (port,), zero, dynamics, spike),
    )
    head_only = (Synapse("head", "input", Linear(head, 8)),)
    given = Input((inputs, size, size), spike, "frames", Preprocessing(1.0, (0.0,), (1.0,)))
    return Program(
        1, 24, 24, given, (*nodes, *head_only) if with_it else head_only, Readout("head", np.zeros(1, np.int64), 1.0)
    )


if __name__ == "__main__":
    main()
