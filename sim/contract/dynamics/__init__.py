"""The dynamics of neurons: one file each, with its struct, facts, step and bounds."""

from .base import BaseDynamics, Facts
from .hybrid_firing import HybridFiring
from .leaky_integrate_and_fire import LeakyIntegrateAndFire
from .lookup_table import LookupTable
from .multi_hierarchical import MultiHierarchical
from .parallel_firing import ParallelFiring
from .relay import Relay

Dynamics = Relay | HybridFiring | ParallelFiring | LeakyIntegrateAndFire | MultiHierarchical | LookupTable

__all__ = [
    "BaseDynamics",
    "Dynamics",
    "Facts",
    "HybridFiring",
    "LeakyIntegrateAndFire",
    "LookupTable",
    "MultiHierarchical",
    "ParallelFiring",
    "Relay",
]
