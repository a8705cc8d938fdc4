"""A leaky membrane that is sent itself."""

from hmdf.sim.contract import LeakyIntegrator

from ..neuron import NeuronCode, NeuronWriter
from ..values import Value


def _step(neuron: NeuronWriter, current: Value) -> Value:
    leaked = (neuron.parameter("leak") * neuron.state("v")).rshift(neuron.shift("leak_shift"))
    m = neuron.let("m", neuron.membrane(leaked + current))
    neuron.set("v", m)
    return neuron.limit_message(m.rshift(neuron.shift("message_shift")))


UPDATE = NeuronCode(
    LeakyIntegrator,
    (
        "v <- clamp(rshift(leak * v, leak_shift) + I, state range)",
        "y = clamp(rshift(v, message_shift), message range)",
    ),
    _step,
)
