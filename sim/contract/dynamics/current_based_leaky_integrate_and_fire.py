"""Loihi's own neuron: spikes are summed into a current that decays, and drives a membrane that leaks."""

from __future__ import annotations

from typing import ClassVar

from ...arithmetic import Integers, toward_zero
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from ..parameters import Bias32, FiringThreshold32, Leak12, Threshold32
from .base import BaseDynamics, Facts


class CurrentBasedLeakyIntegrateAndFire(BaseDynamics, tag="current_based_leaky_integrate_and_fire"):
    """Synaptic current u and membrane v with 12-bit decays that round toward zero, binary spikes, hard reset.

    At each step:

        u <- clamp(toward_zero(current_leak * u, 12) + I)
        m = clamp(toward_zero(leak * v, 12) + u + membrane_bias)
        y = [m >= threshold]
        v <- reset if y else m

    On Loihi, and in Lava's LIF: current_leak = 4096 - (du + 1), leak = 4096 - dv, threshold = 64 * vth + 1, reset = 0.
    """

    current_leak: Leak12
    leak: Leak12
    membrane_bias: Bias32
    threshold: FiringThreshold32
    reset: Threshold32

    leak_shift: ClassVar[int] = 12
    facts = Facts(
        states=("u", "v"),
        leaks=("current_leak", "leak"),
        leak_shift="leak_shift",
        spikes="binary",
        reset="reset",
        format_version=2,
    )

    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        u, v, at = neurons.state["u"], neurons.state["v"], neurons.at
        u = neurons.limit_state(toward_zero(at(t, self.current_leak) * u, self.leak_shift) + current)
        m = neurons.limit_state(toward_zero(at(t, self.leak) * v, self.leak_shift) + u + at(t, self.membrane_bias))
        neurons.state["u"] = u
        return neurons.fire_to("v", m, at(t, self.threshold), at(t, self.reset))

    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        u = neurons.limit_membrane(neurons.decayed("u", t, self.current_leak, self.leak_shift) + current)
        decayed = neurons.decayed("v", t, self.leak, self.leak_shift)
        m = neurons.limit_membrane(decayed + u + neurons.at(t, self.membrane_bias))
        neurons.state["u"] = u
        return neurons.fire_to("v", m, neurons.at(t, self.threshold), neurons.at(t, self.reset))
