"""Neurons computed by hand, and the bounds of their steps against every input there is."""

from itertools import product

import numpy as np
import pytest
from msgspec.structs import replace

from hmdf.sim import ranges, reference
from hmdf.sim.contract import (
    INPUT,
    CurrentBasedLeakyIntegrateAndFire,
    HardResetIntegrateAndFire,
    LeakyIntegrator,
    Linear,
    Message,
    Population,
    Port,
    Relay,
    Synapse,
)
from hmdf.sim.program import Input, Preprocessing, Program, Readout


def one(value):
    return np.array([[value]])


def neuron(dynamics, message, steps=4, bits=4, state_bits=24):
    """One neuron that takes in signed messages of `bits` bits as they are."""
    given = Input((1,), Message(bits, True, 1.0), "frames", Preprocessing(1.0, (0.0,), (1.0,)))
    nodes = (
        Population("n", (1,), (Port(INPUT, one(1), 0),), one(0), dynamics, message),
        Synapse("head", "n", Linear(np.ones((2, 1), np.int8), 2)),
    )
    return Program(steps, state_bits, 24, given, nodes, Readout("head", np.zeros(2, np.int64), 1.0))


SPIKE = Message(1, False, 1.0)
CURRENT_BASED = CurrentBasedLeakyIntegrateAndFire(one(2048), one(1024), one(1), one(12), one(-5))
BY_HAND = {
    # 0 + 6; 3 + 7 = 10 fires, -4; -2 + 7 = 5; rshift(5, 1) = 3
    "hard reset": (HardResetIntegrateAndFire(one(1), 1, one(10), one(-4)), SPIKE, [6, 7, 7, 0], [0, 1, 0, 0], 3),
    # u 7, v 7 + 1; u 3 + 7 = 10, v 2 + 10 + 1 = 13 fires, -5; u 5 - 8 = -3, v -1 - 3 + 1 = -3; u -1, v 0 - 1 + 1 = 0
    "current-based": (CURRENT_BASED, SPIKE, [7, 7, -8, 0], [0, 1, 0, 0], 0),
    # 6; 3 + 7 = 10, whose half, 5, is more than three bits hold; 5 - 8 = -3; rshift(-3, 1) - 8 = -1 - 8 = -9
    "integrator": (LeakyIntegrator(one(1), 1, 1), Message(3, True, 1.0), [6, 7, -8, -8], [3, 3, -1, -4], -9),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_neuron_by_hand(name):
    dynamics, message, currents, sent, last = BY_HAND[name]
    program = neuron(dynamics, message)
    population = program.populations[0]
    neurons = reference.neurons_of(population, program.state_bits, 1)
    values = [reference.step(population, t, {INPUT: np.array([[x]])}, neurons) for t, x in enumerate(currents)]
    assert [int(v[0, 0]) for v in values] == sent
    assert int(neurons.state["v"][0, 0]) == last


EVERY_INPUT = {
    "hard reset": (HardResetIntegrateAndFire(one(3), 1, one(2), one(-5)), SPIKE),
    "hard reset above its threshold": (HardResetIntegrateAndFire(one(-3), 1, one(-1), one(6)), SPIKE),
    "hard reset never": (HardResetIntegrateAndFire(one(1), 1, one(100), one(-100)), SPIKE),
    "hard reset always": (HardResetIntegrateAndFire(one(1), 1, one(-100), one(1)), SPIKE),
    "current-based": (CurrentBasedLeakyIntegrateAndFire(one(3000), one(2500), one(-1), one(5), one(-7)), SPIKE),
    "current-based, always": (CurrentBasedLeakyIntegrateAndFire(one(4096), one(4096), one(99), one(0), one(0)), SPIKE),
    "integrator": (LeakyIntegrator(one(-3), 1, 2), Message(4, True, 1.0)),
    "integrator, unsigned": (LeakyIntegrator(one(3), 2, 0), Message(3, False, 1.0)),
}


@pytest.mark.parametrize("name", EVERY_INPUT)
def test_the_bounds_hold_every_input_and_are_reached(name):
    """One neuron, three steps, eight currents: all 512 inputs. The message's bounds are the smallest there are."""
    program = neuron(*EVERY_INPUT[name], steps=3, bits=3)
    population = program.populations[0]
    inputs = np.array(list(product(range(-4, 4), repeat=3)))
    neurons = reference.neurons_of(population, program.state_bits, len(inputs))
    proof = ranges.prove(program).populations["n"]
    assert proof.membrane is not None
    sent = []
    for t in range(3):
        sent.append(reference.step(population, t, {INPUT: inputs[:, t : t + 1]}, neurons))
        for state in neurons.state.values():
            assert proof.widest.low <= state.min()
            assert state.max() <= proof.widest.high
    assert (np.min(sent), np.max(sent)) == (proof.message.low, proof.message.high)


def test_the_last_membrane_of_an_integrator_as_logits():
    """docs/numerics.md, "Read-out": a relay whose multiplier is 0 but at the last step, and weights of one."""
    wide = Message(16, True, 1.0)
    last = Port("n", np.array([[0], [0], [0], [1]]), 0)
    readout = neuron(LeakyIntegrator(one(3), 1, 0), wide)
    integrator, head = readout.nodes
    head = Synapse("head", "last", head.op)
    relay = Population("last", (1,), (last,), one(0), Relay(), wide)
    taps = reference.run(replace(readout, nodes=(integrator, relay, head)), np.array([[[1], [2], [3], [-8]]]))
    assert taps.messages["n"].ravel().tolist() == [1, 4, 9, 6]
    assert taps.logits.tolist() == [[6, 6]]
