"""A leaky membrane that is sent as it is."""

from hmdf.sim.contract.dynamics import ToyIntegrator

from ..neuron import NeuronCode, NeuronWriter
from ..values import Value


def _step(neuron: NeuronWriter, current: Value) -> Value:
    leaked = (neuron.parameter("leak") * neuron.state("v")).rshift(neuron.shift("leak_shift"))
    v = neuron.let("m", neuron.membrane(leaked + current))
    neuron.set("v", v)
    return neuron.limit_message(v)


UPDATE = NeuronCode(
    ToyIntegrator, ("v <- clamp(rshift(leak * v, leak_shift) + I);  y = clamp(v, message range)",), _step
)
