"""A leaky membrane without spikes, which is sent itself: what read-outs are made of."""

from __future__ import annotations

from ...arithmetic import Integers, rshift
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from ..parameters import Multiplier16, Shift
from .base import BaseDynamics, Facts


class LeakyIntegrator(BaseDynamics, tag="leaky_integrator"):
    """A leaky membrane that sends itself, in steps of 2^message_shift.

    At each step:

        v <- clamp(rshift(leak * v, leak_shift) + I)
        y = clamp(rshift(v, message_shift), message range)
    """

    leak: Multiplier16
    leak_shift: Shift
    message_shift: Shift

    facts = Facts(states=("v",), leaks=("leak",), leak_shift="leak_shift", format_version=2)

    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        v = neurons.limit_state(rshift(neurons.at(t, self.leak) * neurons.state["v"], self.leak_shift) + current)
        neurons.state["v"] = v
        return neurons.limit_message(rshift(v, self.message_shift))

    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        v = neurons.limit_membrane(neurons.scaled("v", t, self.leak, self.leak_shift) + current)
        neurons.state["v"] = v
        return neurons.limit_message(v.shifted(self.message_shift))
