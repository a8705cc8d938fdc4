"""The dynamics of neurons: one file each, with its struct, facts, step and bounds. A new one is two lines here."""

from .base import BaseDynamics as BaseDynamics
from .base import Facts as Facts
from .current_based_leaky_integrate_and_fire import (
    CurrentBasedLeakyIntegrateAndFire as CurrentBasedLeakyIntegrateAndFire,
)
from .hard_reset_integrate_and_fire import HardResetIntegrateAndFire as HardResetIntegrateAndFire
from .hybrid_firing import HybridFiring as HybridFiring
from .leaky_integrate_and_fire import LeakyIntegrateAndFire as LeakyIntegrateAndFire
from .leaky_integrator import LeakyIntegrator as LeakyIntegrator
from .lookup_table import LookupTable as LookupTable
from .multi_hierarchical import MultiHierarchical as MultiHierarchical
from .parallel_firing import ParallelFiring as ParallelFiring
from .relay import Relay as Relay

Dynamics = (
    Relay
    | HybridFiring
    | ParallelFiring
    | LeakyIntegrateAndFire
    | MultiHierarchical
    | LookupTable
    | HardResetIntegrateAndFire
    | LeakyIntegrator
    | CurrentBasedLeakyIntegrateAndFire
)
