"""A leaky membrane that is sent as it is."""

from __future__ import annotations

from ...arithmetic import Integers, rshift
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from ..parameters import Multiplier16, Shift
from .base import BaseDynamics, Facts


class ToyIntegrator(BaseDynamics, tag="toy_integrator"):
    """v <- clamp(rshift(leak * v, leak_shift) + I);  y = clamp(v, message range)."""

    leak: Multiplier16
    leak_shift: Shift

    facts = Facts(states=("v",), leaks=("leak",), leak_shift="leak_shift")

    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        leaked = rshift(neurons.at(t, self.leak) * neurons.state["v"], self.leak_shift)
        neurons.state["v"] = neurons.limit_state(leaked + current)
        return neurons.limit_message(neurons.state["v"])

    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        neurons.state["v"] = neurons.limit_membrane(neurons.scaled("v", t, self.leak, self.leak_shift) + current)
        return neurons.limit_message(neurons.state["v"])
