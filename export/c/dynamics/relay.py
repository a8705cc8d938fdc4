"""A current that is passed on as it is."""

from hmdf.sim.contract import Relay

from ..neuron import NeuronCode, NeuronWriter
from ..values import Value


def _step(neuron: NeuronWriter, current: Value) -> Value:
    return neuron.limit_message(current)


UPDATE = NeuronCode(Relay, ("y = clamp(I, message range)",), _step)
