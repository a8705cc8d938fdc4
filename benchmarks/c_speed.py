"""The generated C on this machine: its speed beside the simulator's, one thread each, and unpacking of ternary weights.

Processor time, median of rounds in which the rivals run one after the other.
"""

from __future__ import annotations

import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import networks
import numpy as np
from rich.console import Console
from rich.table import Table

from hmdf.export.c import export_c
from hmdf.export.c.executor import build, execute, find_compiler
from hmdf.export.c.layout import DTYPES, channels_last, message_code
from hmdf.sim import storage
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator

FLAGS = ("-std=c99", "-O3", "-march=native")
ROUNDS, SAMPLES = 5, 32
EXAMPLES = Path(__file__).parents[1] / "examples"
UNPACK = Path(__file__).with_name("unpack.c")
WAYS = ("two bits a weight", "five trits a byte, by a table", "five trits a byte, by division")
OUT = Path("build/bench")


def main() -> None:
    console = Console(width=120)
    images, source = networks.images(8 + SAMPLES)
    programs = {"ResNet-18, width 64": (networks.resnet((2, 2, 2, 2), 64, 32, 4, images[:8]), images[8:])}
    for name in ("cifar10-resnet18w32", "nmnist-vggsnnw16"):
        program = storage.load(EXAMPLES / f"{name}.hmdf")
        programs[name] = (program, events(program) if program.input.timing == "frames" else images[8:])
    rows = [compared(name, program, messages) for name, (program, messages) in programs.items()]
    table = Table(
        "network", "C, ms a sample", "simulator, ms", "C / simulator", "compiling, s", title=f"images: {source}"
    )
    for row in rows:
        table.add_row(row["network"], *(f"{row[key]:.3g}" for key in ("c", "simulator", "speed", "compiling")))
    console.print(table)
    ways = [unpacked(way) for way in range(len(WAYS))]
    table = Table("ternary weights", "ns a weight", "bytes a weight")
    for way, seconds in zip(WAYS, ways, strict=True):
        table.add_row(way, f"{seconds:.3f}", "0.25" if way == WAYS[0] else "0.2")
    console.print(table)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "c_speed.json").write_text(json.dumps({"networks": rows, "unpacking": dict(zip(WAYS, ways, strict=True))}))


def events(program: Program) -> np.ndarray:
    """Frames in which one message of fifty is an event."""
    rng = np.random.default_rng(0)
    shape = (SAMPLES, program.input_steps, *program.input.shape)
    return (rng.random(shape) < 0.02) * rng.integers(1, 4, shape)


def compared(name: str, program: Program, messages: np.ndarray) -> dict[str, float | str]:
    """Milliseconds of processor time a sample in the C and in the simulator, without counters, one thread."""
    simulator = Simulator(1, counted=False)
    with tempfile.TemporaryDirectory() as scratch:
        folder = export_c(program, Path(scratch) / "c")
        began = time.perf_counter()
        model = build(folder, find_compiler(), FLAGS)
        compiling = time.perf_counter() - began
        inputs = channels_last(messages, program.input.shape).astype(DTYPES[message_code(program.input.message)])
        inputs.tofile(folder / "inputs")
        ours, theirs = [], []
        for _ in range(ROUNDS):
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            said = subprocess.run(
                [str(model), str(folder / "inputs")], capture_output=True, text=True, check=True
            ).stdout
            ours.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
            simulator.simulate(program, messages[:1])
            began = time.thread_time()
            logits = simulator.simulate(program, messages).logits
            theirs.append(time.thread_time() - began)
        assert said.split() == [str(n) for n in logits.reshape(-1)]
    c, other = (median(seconds) / len(messages) * 1e3 for seconds in (ours, theirs))
    return {"network": name, "c": c, "simulator": other, "speed": other / c, "compiling": compiling}


def unpacked(way: int) -> float:
    """Nanoseconds a weight."""
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "unpack"
        flags = ("-O3", "-march=native", f"-DWAY={way}", "-DROUNDS=20000")
        execute([find_compiler(), *flags, str(UNPACK), "-o", str(program)], 60)
        return median(float(execute([str(program)], 60).split()[1]) for _ in range(ROUNDS))


if __name__ == "__main__":
    main()
