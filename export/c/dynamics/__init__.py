"""The dynamics in C, one file each."""

from collections.abc import Mapping

from hmdf.sim.contract.dynamics import BaseDynamics

from ..neuron import NeuronCode
from . import hybrid_firing, leaky_integrate_and_fire, lookup_table, multi_hierarchical, parallel_firing, relay

_FILES = (relay, hybrid_firing, parallel_firing, leaky_integrate_and_fire, multi_hierarchical, lookup_table)
UPDATES: Mapping[type[BaseDynamics], NeuronCode] = {file.UPDATE.dynamics: file.UPDATE for file in _FILES}
"""By kind, how it is computed."""
