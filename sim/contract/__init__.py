"""The contract: the nodes of a Program, a file for each kind, with what is true of it and what it computes.

Synapses have weights and no state, populations have neurons and a state; docs/numerics.md is the same in words.
Needs NumPy and msgspec only.
"""

from .dynamics import (
    CurrentBasedLeakyIntegrateAndFire,
    Dynamics,
    Facts,
    HardResetIntegrateAndFire,
    HybridFiring,
    LeakyIntegrateAndFire,
    LeakyIntegrator,
    LookupTable,
    MultiHierarchical,
    ParallelFiring,
    Relay,
)
from .message import Message
from .ops import WEIGHT_RANGES, ChannelConv, Conv2d, Linear, MaxPool, Op, Pool, SumPool, WeightedOp, Window
from .population import Entry, Gate, InitialState, Population, Port
from .struct import INPUT, MAX_ELEMENTS, Shape
from .synapse import Synapse

Node = Synapse | Population

__all__ = [
    "INPUT",
    "MAX_ELEMENTS",
    "WEIGHT_RANGES",
    "ChannelConv",
    "Conv2d",
    "CurrentBasedLeakyIntegrateAndFire",
    "Dynamics",
    "Entry",
    "Facts",
    "Gate",
    "HardResetIntegrateAndFire",
    "HybridFiring",
    "InitialState",
    "LeakyIntegrateAndFire",
    "LeakyIntegrator",
    "Linear",
    "LookupTable",
    "MaxPool",
    "Message",
    "MultiHierarchical",
    "Node",
    "Op",
    "ParallelFiring",
    "Pool",
    "Population",
    "Port",
    "Relay",
    "Shape",
    "SumPool",
    "Synapse",
    "WeightedOp",
    "Window",
]
