"""Kinds of neurons in NIR, a file for each that NIR has, by the name of the kind."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules

from hmdf.sim.contract import Population

from ..written import Written

WRITERS: Mapping[str, Callable[[Written, Population], str]] = {
    module.name: import_module(f".{module.name}", __name__).write for module in iter_modules(__path__)
}
"""By kind, what adds the nodes of such a population to a graph and returns the name of the last."""
