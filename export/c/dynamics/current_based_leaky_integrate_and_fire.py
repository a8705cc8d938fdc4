"""Loihi's own neuron: a current and a membrane with 12-bit decays."""

from hmdf.sim.contract import CurrentBasedLeakyIntegrateAndFire

from ..neuron import NeuronCode, NeuronWriter
from ..values import Value


def _step(neuron: NeuronWriter, current: Value) -> Value:
    def decayed(leak: str, state: str) -> Value:
        return (neuron.parameter(leak) * neuron.state(state)).toward_zero(12)

    u = neuron.let("driven", neuron.membrane(decayed("current_leak", "u") + current))
    neuron.set("u", u)
    m = neuron.let("m", neuron.membrane(decayed("leak", "v") + u + neuron.parameter("membrane_bias")))
    return neuron.fire_to("v", m, neuron.parameter("threshold"), neuron.parameter("reset"))


UPDATE = NeuronCode(
    CurrentBasedLeakyIntegrateAndFire,
    (
        "u <- clamp(current_leak * u / 4096 + I, state range), the quotient rounded toward zero",
        "m = clamp(leak * v / 4096 + u + membrane_bias, state range), the same",
        "y = [m >= threshold];  v <- reset if y else m",
    ),
    _step,
)
