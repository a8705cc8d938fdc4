"""The leaky integrate-and-fire neuron whose membrane becomes a given value by a spike, whatever it was."""

from __future__ import annotations

from ...arithmetic import Integers, rshift
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from ..parameters import Multiplier16, Shift, Threshold32
from .base import BaseDynamics, Facts


class HardResetIntegrateAndFire(BaseDynamics, tag="hard_reset_integrate_and_fire"):
    """A leaky membrane with binary spikes and a hard reset.

    At each step:

        m = clamp(rshift(leak * v, leak_shift) + I)
        y = [m >= threshold]
        v <- reset if y else m
    """

    leak: Multiplier16
    leak_shift: Shift
    threshold: Threshold32
    reset: Threshold32

    facts = Facts(
        states=("v",), leaks=("leak",), leak_shift="leak_shift", spikes="binary", reset="reset", format_version=2
    )

    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        m = neurons.limit_state(rshift(neurons.at(t, self.leak) * neurons.state["v"], self.leak_shift) + current)
        return neurons.fire_to("v", m, neurons.at(t, self.threshold), neurons.at(t, self.reset))

    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        m = neurons.limit_membrane(neurons.scaled("v", t, self.leak, self.leak_shift) + current)
        return neurons.fire_to("v", m, neurons.at(t, self.threshold), neurons.at(t, self.reset))
