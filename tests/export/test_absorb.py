"""Multipliers of binary neurons in their thresholds: exact where nothing is rounded, and only where it is possible."""

import msgspec
import numpy as np
import pytest

from hmdf.export.passes.absorb import absorb_multipliers
from hmdf.sim import reference
from hmdf.sim.contract import (
    INPUT,
    InitialState,
    LeakyIntegrateAndFire,
    Linear,
    Message,
    MultiHierarchical,
    Population,
    Port,
    Synapse,
)
from hmdf.sim.program import Input, Preprocessing, Program, Readout


def array(*values: int) -> np.ndarray:
    return np.array([values], np.int32)


def program_of(multiplier: np.ndarray, threshold: np.ndarray, dynamics=LeakyIntegrateAndFire) -> Program:
    """Two channels of a linear layer; bias 12 and initial state 24, leak 1."""
    one = array(1)
    leaks = (one,) if dynamics is LeakyIntegrateAndFire else (0 * one, 0 * one, one, one)
    weight = np.random.default_rng(0).integers(-3, 4, (2, 6)).astype(np.int8)
    neurons = Population(
        name="n",
        shape=(2,),
        ports=(Port("w", multiplier, 1),),
        bias=array(12),
        dynamics=dynamics(*leaks, 0, threshold),
        message=Message(1, False, 1.0),
        initial_state=(InitialState("v", array(24)),),
    )
    return Program(
        time_steps=3,
        state_bits=24,
        accumulator_bits=24,
        input=Input((6,), Message(3, False, 1.0), "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Synapse("w", INPUT, Linear(weight, 8)),
            neurons,
            Synapse("head", "n", Linear(np.eye(2, dtype=np.int8), 2)),
        ),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )


@pytest.mark.parametrize("dynamics", [LeakyIntegrateAndFire, MultiHierarchical])
def test_nothing_changes_where_all_is_divisible(dynamics):
    program = program_of(array(4, 6), array(36, 48), dynamics)  # gains 2 and 3
    absorbed = absorb_multipliers(program)
    node = absorbed.by_name["n"]
    assert (node.ports[0].multiplier.tolist(), node.ports[0].shift) == ([[1]], 0)
    assert node.dynamics.threshold.tolist() == [[18, 16]]
    assert (node.bias.tolist(), node.initial()["v"].tolist()) == ([[6, 4]], [[12, 8]])
    messages = np.random.default_rng(1).integers(0, 8, (20, 1, 6))
    before, after = reference.run(program, messages), reference.run(absorbed, messages)
    assert np.array_equal(before.messages["n"], after.messages["n"])
    assert 0 < before.messages["n"].mean() < 1


def test_thresholds_are_rounded_half_even():
    assert absorb_multipliers(program_of(array(4, 4), array(37, 39))).by_name["n"].dynamics.threshold.tolist() == [
        [18, 20]
    ]


@pytest.mark.parametrize("multiplier", [array(4, -6), array(0, 6), np.array([[4], [4], [5]], np.int32)])
def test_gains_that_are_not_positive_and_constant_stay(multiplier):
    program = program_of(multiplier, array(36))
    assert msgspec.structs.asdict(absorb_multipliers(program).by_name["n"]) == msgspec.structs.asdict(
        program.by_name["n"]
    )
