"""Kinds of neurons in the compiler, one file each: from the torch module, the float step, to integers."""

from collections.abc import Mapping

from hmdf.train.neurons import Neuron

from .firing import FloatFiring
from .hybrid_firing import FloatHybridFiring
from .leaky_integrate_and_fire import FloatLeakyIntegrateAndFire
from .lookup_table import FloatSigmoid
from .multi_hierarchical import FloatMultiHierarchical
from .parallel_firing import FloatParallelFiring
from .relay import FloatRelay

__all__ = ["TRAINED", "FloatFiring", "FloatRelay", "FloatSigmoid"]

_KINDS = FloatHybridFiring, FloatParallelFiring, FloatLeakyIntegrateAndFire, FloatMultiHierarchical
TRAINED: Mapping[type[Neuron], type[FloatFiring]] = {kind.module: kind for kind in _KINDS}
"""By the class of a trained neuron, what it becomes."""
