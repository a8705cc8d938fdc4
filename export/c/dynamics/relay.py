"""A current that is passed on as it is."""

from hmdf.sim.contract import Relay

from ..neuron import Neuron, Update
from ..values import Value


def _step(neuron: Neuron, current: Value) -> Value:
    return neuron.limit_message(current)


UPDATE = Update(Relay, ("y = clamp(I, message range)",), _step)
