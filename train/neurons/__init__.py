"""Spiking neurons: the HM-DF family (arXiv 2410.07547 v2, eq. 3, 5, fig. 2a), the LM-H neuron and the LIF baseline; and
the QCFS activation of an ANN.

A network's forward computes ONE time-step. A neuron holds its own state between the steps of a sample and never
advances its step by itself; whoever runs the network does:

    reset(model)
    for t in range(time_steps):
        set_step(model, t)
        logits = model(x)

With ``set_step(model, None)`` a forward computes all steps at once, layer by layer: T*N inputs, time the slow axis. A
neuron that is called twice within a step updates its membrane twice; share only ``ParallelFiring``, which has none.
"""

from .base import MembraneNeuron, Neuron, NormalisedNeuron, detach, set_online
from .graded_spike import Activation, GradedSpike, powers_of_two
from .hybrid_firing import HybridFiring
from .leaky_integrate_and_fire import LeakyIntegrateAndFire
from .multi_hierarchical import MultiHierarchical
from .parallel_firing import ParallelFiring
from .quantised_activation import QuantisedActivation
from .temporal import Temporal, reset, set_step, temporal_modules

__all__ = [
    "Activation",
    "GradedSpike",
    "HybridFiring",
    "LeakyIntegrateAndFire",
    "MembraneNeuron",
    "MultiHierarchical",
    "Neuron",
    "NormalisedNeuron",
    "ParallelFiring",
    "QuantisedActivation",
    "Temporal",
    "detach",
    "powers_of_two",
    "reset",
    "set_online",
    "set_step",
    "temporal_modules",
]
