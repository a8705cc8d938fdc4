"""A Program as text: every kind of node, and nothing left out that changes what is computed."""

import msgspec
import numpy as np

from hmdf.sim.contract import (
    INPUT,
    Conv2d,
    Gate,
    HybridFiring,
    Linear,
    LookupTable,
    Message,
    Population,
    Port,
    Relay,
    SumPool,
    Synapse,
)
from hmdf.sim.listing import listing
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from programs import random_program


def test_a_network_with_a_gate_reads_like_its_equations():
    def constant(value: int) -> np.ndarray:
        return np.array([[value]])

    spikes, mean = Message(4, False, 0.25), Message(12, True, 0.5)
    table = LookupTable(np.arange(256) % 256, 3)
    program = Program(
        time_steps=2,
        state_bits=24,
        accumulator_bits=20,
        input=Input((2, 4, 4), Message(8, True, 0.5), "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Synapse("window", INPUT, SumPool((4, 4), (4, 4))),
            Population("mean", (2, 1, 1), (Port("window", constant(1), 0),), constant(0), Relay(), mean),
            Population("gate", (2, 1, 1), (Port("mean", constant(3), 1),), constant(0), table, Message(8, False, 0.1)),
            Synapse("conv", INPUT, Conv2d(np.array([[[[1]], [[-1]]], [[[0]], [[1]]]], np.int8), 2, padding=(0, 0))),
            Population(
                "act",
                (2, 4, 4),
                (Port("conv", np.array([[5, 7]]), 2), Port(INPUT, constant(1), 0)),
                np.array([[-1], [4]]),
                HybridFiring(constant(2048), 12, np.array([[100], [200]]), 3),
                spikes,
                Gate("gate", 8, constant(9)),
            ),
            Synapse("head", "act", Linear(np.ones((3, 32), np.int8), 1)),
        ),
        readout=Readout("head", np.array([1, 2, 3]), 0.125),
    )
    assert (
        listing(program)
        == """\
program: 2 steps, 24-bit states, 20-bit accumulators
input 2x4x4, constant: sends s8, LSB 0.5
window 2x1x1 = sum_pool(input), kernel 4x4, stride 4x4
mean 2x1x1: sends s12, LSB 0.5
    I = window
    relay
gate 2x1x1: sends u8, LSB 0.1
    I = rshift(3 * mean, 1)
    lookup_table: table <256: 0..255>, index_shift 3
conv 2x4x4 = conv2d(input), ternary weights 2x2x1x1 [1; -1; 0; 1]
act 2x4x4: sends u4, LSB 0.25
    I = rshift((rshift([5 7] * conv, 2) + input + [-1; 4]) * gate, 8) + 9
    hybrid_firing: leak 2048, leak_shift 12, threshold [100; 200], spike_shift 3
head 3 = linear(act), 1-bit weights 3x32
logits = sum over t of (head + [1 2 3]), LSB 0.125
"""
    )
    assert str(program) == listing(program)


def test_programs_that_differ_in_a_number_read_differently():
    """With every array written out, each field of a program shows."""
    for seed in range(20):
        program = random_program(seed)
        text = listing(program, values=10**9)
        for index, node in enumerate(program.nodes):
            if not isinstance(node, Population):
                continue
            changed = msgspec.structs.replace(node, bias=np.array(node.bias) + 1)
            nodes = (*program.nodes[:index], changed, *program.nodes[index + 1 :])
            assert listing(msgspec.structs.replace(program, nodes=nodes), values=10**9) != text
