"""The executors that `--verify` names, compared with the simulator."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from hmdf.sim.errors import Mismatch
from hmdf.sim.executor import Executor
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import Comparison, compare

EXECUTORS = ("reference", "onnx", "lava", "c")
BLOCK, LAVA_BLOCK = 16, 64
"""Samples compared at a time; each block starts Lava anew, which takes seconds."""


class Checks(msgspec.Struct, frozen=True):
    """What is compared: these of EXECUTORS, on the first `samples` samples, Lava with that interpreter."""

    names: list[str]
    samples: int
    lava_python: str | None = None

    def __str__(self) -> str:
        return f"{','.join(self.names)} on {self.samples} samples" if self.names else "nothing"


class Verifier:
    """Compares the simulator with the reference, and every other executor with the reference (or else the simulator).

    A comparison has an entry for each name; that of "reference" is the simulator's.
    """

    def __init__(self, checks: Checks, simulator: Simulator) -> None:
        names = checks.names
        others = [name for name in names if name != "reference"]
        self.names = [*(["reference"] if "reference" in names else []), *others]
        self.executors: list[Executor] = [_executor(name, checks.lava_python) for name in others]
        self.against: Executor | None = simulator
        if "reference" in names:
            self.executors.insert(0, simulator)
            self.against = None
        self.samples = checks.samples if names else 0
        self.block = LAVA_BLOCK if "lava" in names else BLOCK

    def compare(self, program: Program, messages: Iterable[np.ndarray], start: int) -> dict[str, Comparison]:
        """On some samples, of which the first is number `start`."""
        compared = compare(program, messages, self.executors, self.against, self.block, start=start)
        return dict(zip(self.names, compared, strict=True))


def _executor(name: str, lava_python: str | None) -> Executor:
    if name == "onnx":
        from hmdf.export.onnx import OnnxRuntime

        return OnnxRuntime()
    if name == "c":
        from hmdf.export.c import CompiledC

        return CompiledC()
    from hmdf.export.lava import Lava

    return Lava() if lava_python is None else Lava(python=lava_python)


def require_equal(compared: dict[str, Comparison]) -> None:
    """Raise Mismatch with the first difference of every executor that has one."""
    lines = [f"{name}: first mismatch at {one.first_mismatch}" for name, one in compared.items() if not one.bit_exact]
    if lines:
        raise Mismatch("\n  ".join(["the executors differ", *lines]))
