"""What a population's states are before the first step: by hand, in the proof, and what is refused."""

import numpy as np
import pytest

from hmdf.sim import reference
from hmdf.sim.contract import (
    INPUT,
    HybridFiring,
    InitialState,
    LeakyIntegrateAndFire,
    Linear,
    Message,
    MultiHierarchical,
    Population,
    Port,
    Relay,
    Synapse,
)
from hmdf.sim.contract.intervals import Interval
from hmdf.sim.errors import ProgramError
from hmdf.sim.memory import memory_of
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.ranges import prove
from hmdf.sim.simulator import Simulator


def array(*values: int) -> np.ndarray:
    return np.array([values], np.int32)


LIF = LeakyIntegrateAndFire(array(3), 1, array(10))
LM_H = MultiHierarchical(array(1), array(-1), array(3), array(2), 1, array(10))
HM_DF = HybridFiring(array(3), 1, array(10), 0)


def program_of(dynamics, *initial: InitialState, steps: int = 3, state_bits: int = 24) -> Program:
    """Two channels whose current is their input."""
    message = Message(4, False, 1.0) if dynamics is HM_DF else Message(1, False, 1.0)
    neurons = Population("n", (2,), (Port(INPUT, array(1), 0),), array(0), dynamics, message, None, initial)
    return Program(
        time_steps=steps,
        state_bits=state_bits,
        accumulator_bits=24,
        input=Input((2,), Message(6, True, 1.0), "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(neurons, Synapse("head", "n", Linear(np.eye(2, dtype=np.int8), 2))),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )


# Current 2. LIF: m = rshift(3 v, 1) + 2 from v = 5: 10 fires, v 0; 2; 5. From v = -4: -4; -4; -4.
# LM-H from d = 4, v = 5: d = 2 - 2 + 2, m = 8 + 2 = 10 fires, v 0; d = 1 + 0 + 2, m = 3; d = 2 - 1 + 2, m = 5 + 3.
# From d = 4, v = -3: d = 2 + 2 + 2, m = -4 + 6; d = 3 - 1 + 2, m = 3 + 4; d = 2 - 3 + 2, m = 11 + 1 fires.
# HM-DF: m = rshift(3 v, 1) + 2 from v = 5: 10; 17, sends 7, v 10; 17. From v = -4 as LIF.
BY_HAND = {
    "lif": (LIF, [InitialState("v", array(5, -4))], [[1, 0, 0], [0, 0, 0]]),
    "lm-h": (LM_H, [InitialState("d", array(4)), InitialState("v", array(5, -3))], [[1, 0, 0], [0, 0, 1]]),
    "hm-df": (HM_DF, [InitialState("v", array(5, -4))], [[0, 7, 7], [0, 0, 0]]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_integers_by_hand(name):
    dynamics, initial, expected = BY_HAND[name]
    program, messages = program_of(dynamics, *initial), np.full((3, 1, 2), 2)
    for taps in (reference.run(program, messages), Simulator(threads=1).run(program, messages)):
        assert taps.messages["n"].tolist() == np.transpose([expected] * 3, (0, 2, 1)).tolist()


def test_the_proof_and_the_memory_have_it():
    """With a current of -32..31 and no leak kept, only the initial state makes the membrane reach 10,000."""
    still = LeakyIntegrateAndFire(array(0), 0, array(100))
    plain, started = program_of(still), program_of(still, InitialState("v", array(-10_000, 10_000)))
    assert prove(plain).populations["n"].membrane == Interval(-32, 31)
    assert prove(started).populations["n"].membrane == Interval(-10_000, 10_000)
    assert memory_of(started).parameter_bytes == memory_of(plain).parameter_bytes + 8
    assert str(started).count("initially: v [-10000 10000]") == 1


def test_a_state_at_its_limit_saturates_in_every_executor():
    program = program_of(LIF, InitialState("v", array(127, -128)), state_bits=8)
    messages = np.array([[[31, 31]], [[-32, -32]]])
    wanted, found = reference.run(program, messages), Simulator(threads=1).run(program, messages)
    assert wanted.saturations["n"][0] > 0
    assert np.array_equal(wanted.saturations["n"], found.saturations["n"])
    assert np.array_equal(wanted.messages["n"], found.messages["n"])


@pytest.mark.parametrize(
    ("dynamics", "initial", "problem"),
    [
        (LIF, [InitialState("d", array(1))], "initial states d; a leaky_integrate_and_fire neuron has v"),
        (Relay(), [InitialState("v", array(1))], "a relay neuron has no state"),
        (LM_H, [InitialState("v", array(1)), InitialState("d", array(1))], "initial states v, d; .* has d, v"),
        (LM_H, [InitialState("v", array(1)), InitialState("v", array(1))], "initial states v, v"),
        (LIF, [InitialState("v", array(1, 2, 3))], r"initial state 'v' must be integers of shape \(1, 2 or 1\)"),
        (LIF, [InitialState("v", np.ones((3, 2), np.int32))], r"must be integers of shape \(1, 2 or 1\)"),
        (LIF, [InitialState("v", array(1).astype(float))], "must be integers"),
        (LIF, [InitialState("v", array(1 << 23))], "initial state 'v' is outside the 24-bit state"),
    ],
)
def test_what_is_refused(dynamics, initial, problem):
    with pytest.raises(ProgramError, match=problem):
        program_of(dynamics, *initial)
