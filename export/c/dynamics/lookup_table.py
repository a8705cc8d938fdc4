"""A function of the current as a table."""

from hmdf.sim.contract import LookupTable

from ..neuron import NeuronCode, NeuronWriter
from ..values import Value, constant


def _step(neuron: NeuronWriter, current: Value) -> Value:
    index = current.rshift(neuron.shift("index_shift")).clamp(-128, 127) + constant(128)
    return neuron.lookup("table", index)


UPDATE = NeuronCode(LookupTable, ("y = table[clamp(rshift(I, index_shift), -128, 127) + 128]",), _step)
