"""hmdf: from a trained HM-DF (HD-LIF, CVPR 2026) spiking network to a proven integer program for a neuromorphic chip.

    compilation = hmdf.compile(module, example_input, target="loihi2", calibration=samples)
    result = hmdf.simulate(compilation.program, samples)

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import moved as moved

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hmdf.export.compiler import compile as compile
    from hmdf.export.compiler import compile_network as compile_network
    from hmdf.hw_targets.schema import Target as Target
    from hmdf.hw_targets.target import load_target as load_target
    from hmdf.sim.program import Program as Program
    from hmdf.sim.simulator import Result as Result
    from hmdf.sim.simulator import simulate as simulate
    from hmdf.sim.storage import load as load
    from hmdf.sim.storage import save as save

# The same for Python, which imports a name's module when the name is first used.
_MODULES = {
    "compile": "hmdf.export.compiler",
    "compile_network": "hmdf.export.compiler",
    "Target": "hmdf.hw_targets.schema",
    "load_target": "hmdf.hw_targets.target",
    "Program": "hmdf.sim.program",
    "Result": "hmdf.sim.simulator",
    "simulate": "hmdf.sim.simulator",
    "load": "hmdf.sim.storage",
    "save": "hmdf.sim.storage",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hmdf' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
