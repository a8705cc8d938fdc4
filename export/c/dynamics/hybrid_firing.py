"""The HM-DF neuron."""

from hmdf.sim.contract import HybridFiring

from ..neuron import NeuronCode, NeuronWriter
from ..values import Value, constant


def _step(neuron: NeuronWriter, current: Value) -> Value:
    threshold = neuron.parameter("threshold")
    leaked = (neuron.parameter("leak") * neuron.state("v")).rshift(neuron.shift("leak_shift"))
    m = neuron.let("m", neuron.membrane(leaked + current))
    neuron.set("v", m.minimum(threshold))
    above = (m - threshold).maximum(constant(0))
    return neuron.limit_message(above.rshift(neuron.shift("spike_shift")))


UPDATE = NeuronCode(
    HybridFiring,
    (
        "m = clamp(rshift(leak * v, leak_shift) + I, state range)",
        "y = min(rshift(max(m - threshold, 0), spike_shift), largest message);  v <- min(m, threshold)",
    ),
    _step,
)
