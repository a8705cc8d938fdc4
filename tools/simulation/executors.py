"""The executors that `--verify` names, compared with the simulator."""

from __future__ import annotations

import numpy as np

from hmdf.sim.errors import Mismatch
from hmdf.sim.executor import Executor
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import Comparison, compare

from ..console import progress

EXECUTORS = ("reference", "onnx", "lava", "c")
BLOCK, LAVA_BLOCK = 16, 64
"""Samples compared at a time; each block starts Lava anew, which takes seconds."""


def verify(
    program: Program, messages: np.ndarray, simulator: Simulator, names: list[str], lava_python: str | None = None
) -> dict[str, Comparison]:
    """Compare the simulator with the reference, and every other executor with the reference (or else the simulator).

    Args:
        names: of EXECUTORS; the result has an entry for each, that of "reference" is the simulator's.
        lava_python: an interpreter that has Lava.
    """
    with_reference = "reference" in names
    others = [name for name in names if name != "reference"]
    executors: list[Executor] = [_executor(name, lava_python) for name in others]
    if with_reference:
        executors.insert(0, simulator)
    with progress("verifying", len(messages)) as advance:
        block = LAVA_BLOCK if "lava" in names else BLOCK
        against = None if with_reference else simulator
        compared = compare(program, messages, executors, against, block, progress=advance)
    return dict(zip(["reference"] * with_reference + others, compared, strict=True))


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
