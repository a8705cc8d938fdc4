"""hmdf: from a trained HM-DF spiking network to a proven integer program on a chip.

    program = hmdf.compile(module, example_input, target="loihi2", calibration=samples)
    result = hmdf.simulate(program, samples)

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hmdf.export.compiler import compile, compile_network
    from hmdf.hw_targets.target import Target, load_target
    from hmdf.sim.program import Program
    from hmdf.sim.simulator import Result, simulate
    from hmdf.sim.storage import load, save

_HOMES = {
    "Program": "hmdf.sim.program",
    "Result": "hmdf.sim.simulator",
    "Target": "hmdf.hw_targets.target",
    "compile": "hmdf.export.compiler",
    "compile_network": "hmdf.export.compiler",
    "load": "hmdf.sim.storage",
    "load_target": "hmdf.hw_targets.target",
    "save": "hmdf.sim.storage",
    "simulate": "hmdf.sim.simulator",
}

__all__ = [
    "Program",
    "Result",
    "Target",
    "compile",
    "compile_network",
    "load",
    "load_target",
    "save",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hmdf' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
