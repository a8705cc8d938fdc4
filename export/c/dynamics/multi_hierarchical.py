"""The learnable multi-hierarchical neuron: a dendrite and a soma."""

from hmdf.sim.contract import MultiHierarchical

from ..neuron import Neuron, Update
from ..values import Value


def _step(neuron: Neuron, current: Value) -> Value:
    shift = neuron.shift("leak_shift")

    def scaled(factor: str, state: Value) -> Value:
        return (neuron.parameter(factor) * state).rshift(shift)

    v = neuron.state("v")
    kept, fed_back = scaled("dendrite_leak", neuron.state("d")), scaled("dendrite_feedback", v)
    dendrite = neuron.let("dendrite", neuron.membrane(kept + fed_back + current))
    neuron.set("d", dendrite)
    m = neuron.let("m", neuron.membrane(scaled("soma_leak", v) + scaled("soma_drive", dendrite)))
    return neuron.fire("v", m, neuron.parameter("threshold"))


UPDATE = Update(
    MultiHierarchical,
    (
        "d <- clamp(rshift(dendrite_leak * d, leak_shift) + rshift(dendrite_feedback * v, leak_shift) + I, state range)",
        "m = clamp(rshift(soma_leak * v, leak_shift) + rshift(soma_drive * d, leak_shift), state range)",
        "y = [m >= threshold];  v <- m - y * threshold",
    ),
    _step,
)
