"""Kinds of neurons in the compiler, one file each: from the torch module, the float step, to integers."""

from collections.abc import Mapping

from hmdf.train.neurons import MultiHierarchical, Neuron

from .firing import FloatFiring
from .hybrid_firing import FloatHybridFiring
from .leaky_integrate_and_fire import FloatLeakyIntegrateAndFire
from .lookup_table import FloatSigmoid
from .multi_hierarchical import REFUSAL
from .parallel_firing import FloatParallelFiring
from .relay import FloatRelay

__all__ = ["REFUSED", "TRAINED", "FloatFiring", "FloatRelay", "FloatSigmoid"]

TRAINED: Mapping[type[Neuron], type[FloatFiring]] = {
    kind.module: kind for kind in (FloatHybridFiring, FloatParallelFiring, FloatLeakyIntegrateAndFire)
}
"""By the class of a trained neuron, what it becomes."""
REFUSED: Mapping[type[Neuron], tuple[str, str]] = {MultiHierarchical: REFUSAL}
"""By the class of a neuron that cannot be compiled: what is missing, and what to do."""
