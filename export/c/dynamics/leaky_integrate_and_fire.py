"""The leaky integrate-and-fire neuron with binary spikes."""

from hmdf.sim.contract import LeakyIntegrateAndFire

from ..neuron import NeuronCode, NeuronWriter
from ..values import Value


def _step(neuron: NeuronWriter, current: Value) -> Value:
    leaked = (neuron.parameter("leak") * neuron.state("v")).rshift(neuron.shift("leak_shift"))
    m = neuron.let("m", neuron.membrane(leaked + current))
    return neuron.fire("v", m, neuron.parameter("threshold"))


UPDATE = NeuronCode(
    LeakyIntegrateAndFire,
    (
        "m = clamp(rshift(leak * v, leak_shift) + I, state range)",
        "y = [m >= threshold];  v <- m - y * threshold",
    ),
    _step,
)
