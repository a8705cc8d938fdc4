"""The leaky integrate-and-fire neuron with a hard reset."""

from hmdf.sim.contract import HardResetIntegrateAndFire

from ..neuron import NeuronCode, NeuronWriter
from ..values import Value


def _step(neuron: NeuronWriter, current: Value) -> Value:
    leaked = (neuron.parameter("leak") * neuron.state("v")).rshift(neuron.shift("leak_shift"))
    m = neuron.let("m", neuron.membrane(leaked + current))
    return neuron.fire_to("v", m, neuron.parameter("threshold"), neuron.parameter("reset"))


UPDATE = NeuronCode(
    HardResetIntegrateAndFire,
    (
        "m = clamp(rshift(leak * v, leak_shift) + I, state range)",
        "y = [m >= threshold];  v <- reset if y else m",
    ),
    _step,
)
