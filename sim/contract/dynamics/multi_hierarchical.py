"""The learnable multi-hierarchical neuron (LM-H, eq. 4 and 7): a dendrite and a soma, coupled, with binary spikes."""

from __future__ import annotations

from ...arithmetic import Integers, rshift
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from ..parameters import FiringThreshold32, Multiplier16, Shift
from .base import BaseDynamics, Facts


class MultiHierarchical(BaseDynamics, tag="multi_hierarchical"):
    """Dendrite d and soma v; the first line takes v of the step before, the second the new d.

    At each step:

        d <- clamp(rshift(dendrite_leak * d, leak_shift) + rshift(dendrite_feedback * v, leak_shift) + I)
        m = clamp(rshift(soma_leak * v, leak_shift) + rshift(soma_drive * d, leak_shift))
        y = [m >= threshold]
        v <- m - y * threshold
    """

    dendrite_leak: Multiplier16
    dendrite_feedback: Multiplier16
    soma_leak: Multiplier16
    soma_drive: Multiplier16
    leak_shift: Shift
    threshold: FiringThreshold32

    facts = Facts(
        states=("d", "v"),
        leaks=("dendrite_leak", "soma_leak"),
        couplings=("dendrite_feedback", "soma_drive"),
        leak_shift="leak_shift",
        spikes="binary",
    )

    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        s, at = self.leak_shift, neurons.at
        d, v = neurons.state["d"], neurons.state["v"]
        kept, fed_back = rshift(at(t, self.dendrite_leak) * d, s), rshift(at(t, self.dendrite_feedback) * v, s)
        d = neurons.state["d"] = neurons.limit_state(kept + fed_back + current)
        m = neurons.limit_state(rshift(at(t, self.soma_leak) * v, s) + rshift(at(t, self.soma_drive) * d, s))
        return neurons.fire("v", m, at(t, self.threshold))

    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        s, scaled = self.leak_shift, neurons.scaled
        neurons.state["d"] = neurons.limit_membrane(
            scaled("d", t, self.dendrite_leak, s) + scaled("v", t, self.dendrite_feedback, s) + current
        )
        m = neurons.limit_membrane(scaled("v", t, self.soma_leak, s) + scaled("d", t, self.soma_drive, s))
        return neurons.fire("v", m, neurons.at(t, self.threshold))
