"""Kinds of neurons in the compiler, one file each: from the torch module, the float step, to integers."""

from collections.abc import Mapping

from hmdf.train.neurons import Neuron

from .current_based_leaky_integrate_and_fire import FloatCurrentBasedLeakyIntegrateAndFire
from .firing import FloatFiring
from .hard_reset_integrate_and_fire import FloatHardResetIntegrateAndFire
from .hybrid_firing import FloatHybridFiring
from .leaky_integrate_and_fire import FloatLeakyIntegrateAndFire
from .leaky_integrator import FloatLeakyIntegrator
from .lookup_table import FloatPowerOfTwo, FloatSigmoid
from .multi_hierarchical import FloatMultiHierarchical
from .parallel_firing import FloatParallelFiring
from .relay import FloatRelay

__all__ = [
    "TRAINED",
    "FloatCurrentBasedLeakyIntegrateAndFire",
    "FloatFiring",
    "FloatHardResetIntegrateAndFire",
    "FloatLeakyIntegrateAndFire",
    "FloatLeakyIntegrator",
    "FloatMultiHierarchical",
    "FloatPowerOfTwo",
    "FloatRelay",
    "FloatSigmoid",
]

_KINDS = FloatHybridFiring, FloatParallelFiring, FloatLeakyIntegrateAndFire, FloatMultiHierarchical
TRAINED: Mapping[type[Neuron], type[FloatFiring]] = {kind.module: kind for kind in _KINDS}
"""By the class of a trained neuron, what it becomes."""
