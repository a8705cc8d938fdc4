"""The HM-DF neuron without a membrane (arXiv 2410.07547 v2, fig. 2a)."""

from __future__ import annotations

import numpy as np

from ...arithmetic import Integers, rshift
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from ..parameters import Shift, Threshold32
from .base import BaseDynamics, Facts


class ParallelFiring(BaseDynamics, tag="parallel_firing"):
    """y = min(rshift(max(I - threshold, 0), spike_shift), 2^bits - 1)."""

    threshold: Threshold32
    spike_shift: Shift

    facts = Facts(spikes="graded")

    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        return neurons.limit_message(rshift(np.maximum(current - neurons.at(t, self.threshold), 0), self.spike_shift))

    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        return neurons.limit_message(neurons.above(current, neurons.at(t, self.threshold)).shifted(self.spike_shift))
