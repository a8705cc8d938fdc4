"""Spiking neurons of the HM-DF family and the LIF baseline (HM-DF, arXiv 2410.07547 v2, eq. 3, 5, fig. 2a).

A network's forward computes ONE time-step. A neuron holds its own state between the steps of a sample and never
advances its step by itself; whoever runs the network does:

    reset(model)
    for t in range(time_steps):
        set_step(model, t)
        logits = model(x)

A neuron that is called twice within a step updates its membrane twice; share only ``ParallelFiring``, which has none.
"""

from .base import MembraneNeuron, Neuron, set_online
from .graded_spike import GradedSpike
from .hybrid_firing import HybridFiring
from .leaky_integrate_and_fire import LeakyIntegrateAndFire
from .parallel_firing import ParallelFiring
from .temporal import Temporal, reset, set_step, temporal_modules

__all__ = [
    "GradedSpike",
    "HybridFiring",
    "LeakyIntegrateAndFire",
    "MembraneNeuron",
    "Neuron",
    "ParallelFiring",
    "Temporal",
    "reset",
    "set_online",
    "set_step",
    "temporal_modules",
]
