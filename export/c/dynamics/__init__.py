"""The dynamics in C: a file for each kind of the contract, by the same name."""

from collections.abc import Mapping
from importlib import import_module
from typing import get_args

from hmdf.sim.contract import Dynamics
from hmdf.sim.contract.dynamics import BaseDynamics

from ..neuron import NeuronCode

UPDATES: Mapping[type[BaseDynamics], NeuronCode] = {
    kind: import_module(f".{kind.kind()}", __name__).UPDATE for kind in get_args(Dynamics)
}
"""By kind, how it is computed."""
