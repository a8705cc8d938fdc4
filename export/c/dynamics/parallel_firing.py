"""The HM-DF neuron without a membrane."""

from hmdf.sim.contract import ParallelFiring

from ..neuron import NeuronCode, NeuronWriter
from ..values import Value, constant


def _step(neuron: NeuronWriter, current: Value) -> Value:
    above = (current - neuron.parameter("threshold")).maximum(constant(0))
    return neuron.limit_message(above.rshift(neuron.shift("spike_shift")))


UPDATE = NeuronCode(ParallelFiring, ("y = min(rshift(max(I - threshold, 0), spike_shift), largest message)",), _step)
