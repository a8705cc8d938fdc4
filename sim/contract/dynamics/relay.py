"""A current that is passed on as it is."""

from __future__ import annotations

from ...arithmetic import Integers
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from .base import BaseDynamics, Facts


class Relay(BaseDynamics, tag="relay"):
    """y = clamp(I, message range)."""

    facts = Facts(activation=False)

    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        return neurons.limit_message(current)

    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        return neurons.limit_message(current)
