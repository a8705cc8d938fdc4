"""Multipliers of binary neurons taken into their thresholds, for chips that have none.

Where one accumulator a comes in with a positive multiplier k, the same in all steps, every integer of the neuron is
counted in units of 1 / k: I / k = a + bias / k, and so threshold, initial state and bias are divided by k, with
k = multiplier / 2^shift. Leaks and messages stay. The neuron takes its accumulator in as it is; thresholds, biases and
initial states are rounded to whole units, which is all that changes, beside the rounding of the leaked state.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.arithmetic import integer_range
from hmdf.sim.contract import Population, Port
from hmdf.sim.contract.parameters import Parameter, fields_of
from hmdf.sim.program import Program


def absorb_multipliers(program: Program) -> Program:
    """The same network without the multipliers that can be taken into thresholds."""
    nodes = tuple(_absorbed(n, program.state_bits) if isinstance(n, Population) else n for n in program.nodes)
    return msgspec.structs.replace(program, nodes=nodes)


def _absorbed(node: Population, state_bits: int) -> Population:
    port = node.ports[0]
    plain = len(node.ports) == 1 and node.gate is None and len(port.multiplier) == 1 and port.multiplier.min() > 0
    if not plain or node.dynamics.facts.spikes != "binary":
        return node
    unit = port.multiplier / 2.0**port.shift

    def divided(array: NDArray[np.int32], bits: int) -> NDArray[np.int64]:
        return np.clip(np.rint(array / unit), *integer_range(bits, signed=True)).astype(np.int64)

    thresholds = {
        name: divided(value, state_bits)
        for name, kind, value in fields_of(node.dynamics)
        if isinstance(kind, Parameter) and kind.within_state
    }
    return msgspec.structs.replace(
        node,
        ports=(Port(port.source, np.ones((1, 1), np.int16), 0),),
        bias=divided(node.bias, 32),
        dynamics=msgspec.structs.replace(node.dynamics, **thresholds),
        initial_state=tuple(
            msgspec.structs.replace(initial, value=divided(initial.value, state_bits)) for initial in node.initial_state
        ),
    )
