"""The leaky integrate-and-fire neuron with binary spikes: the baseline of the papers."""

from __future__ import annotations

from ...arithmetic import Integers, rshift
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from ..parameters import FiringThreshold32, Multiplier16, Shift
from .base import BaseDynamics, Facts


class LeakyIntegrateAndFire(BaseDynamics, tag="leaky_integrate_and_fire"):
    """A leaky membrane with binary spikes and a soft reset.

    At each step:

        m = clamp(rshift(leak * v, leak_shift) + I)
        y = [m >= threshold]
        v <- m - y * threshold
    """

    leak: Multiplier16
    leak_shift: Shift
    threshold: FiringThreshold32

    facts = Facts(states=("v",), leaks=("leak",), leak_shift="leak_shift", spikes="binary")

    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        m = neurons.limit_state(rshift(neurons.at(t, self.leak) * neurons.state["v"], self.leak_shift) + current)
        return neurons.fire("v", m, neurons.at(t, self.threshold))

    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        m = neurons.limit_membrane(neurons.scaled("v", t, self.leak, self.leak_shift) + current)
        return neurons.fire("v", m, neurons.at(t, self.threshold))
