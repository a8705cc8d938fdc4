"""What Lava 0.10.0 needs: to run on a newer Python than its 3.10, and to compile faster. Its files stay as they are."""

from __future__ import annotations

import dataclasses
import importlib
import multiprocessing
import sys
from typing import Any

INSTALL = (
    'pip install "numpy>=1.26" scipy networkx asteval && pip install --no-deps --ignore-requires-python lava-nc==0.10.0'
)


class LavaMissing(Exception):  # noqa: N818 - the name says what is wrong
    """Lava is not installed, or does not import; the message is one line that ends with the install command."""


def import_lava() -> None:
    """Import the part of Lava that the bundle uses.

    Raises:
        LavaMissing: with the reason and the command that installs it.
    """
    # Lava calls set_start_method at import, which fails when it was called before.
    multiprocessing.set_start_method(None, force=True)
    try:
        importlib.import_module("lava.magma")
        _import_var_model()
        for name in ("proc.conv.process", "proc.dense.process", "proc.sparse.process", "magma.core.run_configs"):
            importlib.import_module(f"lava.{name}")
        _find_models_once()
    except ModuleNotFoundError as error:
        reason = f"Lava is not installed for {sys.executable} (no module '{error.name}')"
        raise LavaMissing(f"{reason}; install it with: {INSTALL}") from None
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise LavaMissing(f"Lava does not import in {sys.executable} ({text}); install it with: {INSTALL}") from None


def _import_var_model() -> None:
    """From Python 3.11 on, a dataclass default must be hashable; `ByteEncoder`, a dataclass of Lava, is not.

    While the module that defines it is imported, that one class is made hashable.
    """
    original = dataclasses.dataclass

    def hashable(cls: Any = None, /, **options: Any) -> Any:
        if cls is not None and cls.__name__ == "ByteEncoder":
            options["unsafe_hash"] = True
        return original(cls, **options)

    dataclasses.dataclass = hashable
    try:
        importlib.import_module("lava.magma.compiler.var_model")
    finally:
        dataclasses.dataclass = original


def _find_models_once() -> None:
    """Ask Lava's search for models once per class of process, and only if the class's own module has none.

    The search executes every file of the module's folder, once for every file and process: half of the time of a
    short run.
    """
    graphs = importlib.import_module("lava.magma.compiler.compiler_graphs").ProcGroupDiGraphs
    search, found = graphs._find_proc_models, {}

    def find(proc: Any) -> list[Any]:
        kind = type(proc)
        if kind not in found:
            own = graphs._find_proc_models_in_module(proc, sys.modules[kind.__module__])
            found[kind] = own or search(proc)
        return list(found[kind])

    graphs._find_proc_models = staticmethod(find)
