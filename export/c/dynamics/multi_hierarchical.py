"""The learnable multi-hierarchical neuron: a dendrite and a soma."""

from hmdf.sim.contract import MultiHierarchical

from ..neuron import NeuronCode, NeuronWriter
from ..values import Value


def _step(neuron: NeuronWriter, current: Value) -> Value:
    shift = neuron.shift("leak_shift")

    def scaled(factor: str, state: Value) -> Value:
        return (neuron.parameter(factor) * state).rshift(shift)

    v = neuron.state("v")
    kept, fed_back = scaled("dendrite_leak", neuron.state("d")), scaled("dendrite_feedback", v)
    dendrite = neuron.let("dendrite", neuron.membrane(kept + fed_back + current))
    neuron.set("d", dendrite)
    m = neuron.let("m", neuron.membrane(scaled("soma_leak", v) + scaled("soma_drive", dendrite)))
    return neuron.fire("v", m, neuron.parameter("threshold"))


UPDATE = NeuronCode(
    MultiHierarchical,
    (
        "d <- clamp(rshift(dendrite_leak * d, s) + rshift(dendrite_feedback * v, s) + I, state range), s = leak_shift",
        "m = clamp(rshift(soma_leak * v, s) + rshift(soma_drive * d, s), state range)",
        "y = [m >= threshold];  v <- m - y * threshold",
    ),
    _step,
)
