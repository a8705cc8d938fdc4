"""The HM-DF neuron (arXiv 2410.07547 v2, eq. 3 and 5, after the fold of eq. 7)."""

from __future__ import annotations

import numpy as np

from ...arithmetic import Integers, rshift
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from ..parameters import Multiplier16, Shift, Threshold32
from .base import BaseDynamics, Facts


class HybridFiring(BaseDynamics, tag="hybrid_firing"):
    """A leaky membrane that sends what lies above its threshold as a graded spike, and keeps the threshold.

    At each step:

        m = clamp(rshift(leak * v, leak_shift) + I)
        y = min(rshift(max(m - threshold, 0), spike_shift), 2^bits - 1)
        v <- min(m, threshold)
    """

    leak: Multiplier16
    leak_shift: Shift
    threshold: Threshold32
    spike_shift: Shift

    facts = Facts(states=("v",), leaks=("leak",), leak_shift="leak_shift", spikes="graded")

    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        leak, theta = neurons.at(t, self.leak), neurons.at(t, self.threshold)
        m = neurons.limit_state(rshift(leak * neurons.state["v"], self.leak_shift) + current)
        neurons.state["v"] = np.minimum(m, theta)
        return neurons.limit_message(rshift(np.maximum(m - theta, 0), self.spike_shift))

    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        theta = neurons.at(t, self.threshold)
        m = neurons.limit_membrane(neurons.scaled("v", t, self.leak, self.leak_shift) + current)
        neurons.state["v"] = m.at_most(theta)
        return neurons.limit_message(neurons.above(m, theta).shifted(self.spike_shift))
