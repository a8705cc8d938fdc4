"""The range proof is sound, and tight enough to be useful."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdf.sim import ranges, reference
from hmdf.sim.contract import INPUT, Conv2d, HybridFiring, Linear, Message, Population, Port, Synapse
from hmdf.sim.contract.intervals import Bounds, Interval
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from programs import random_messages, random_program


def assert_inside(program: Program, messages: np.ndarray) -> int:
    """Run `messages` and check every register against the proof; returns how many bounds were reached."""
    proof, taps, reached = ranges.prove(program), reference.run(program, messages), 0
    for population in program.populations:
        proven, seen = proof.populations[population.name], taps.messages[population.name]
        assert proven.message.low <= seen.min(), population.name
        assert seen.max() <= proven.message.high, population.name
        state, message = taps.saturations[population.name]
        assert proven.state_clamps or state == 0, population.name
        assert proven.message_clamps or message == 0, population.name
        reached += int(seen.max() == proven.message.high)
    for synapse in program.synapses:
        source = messages if synapse.source == INPUT else taps.messages[synapse.source]
        accumulator = synapse.op.accumulate(source.reshape(-1, *source.shape[2:]).astype(np.int64))
        proven_sum = proof.synapses[synapse.name]
        assert proven_sum.low <= accumulator.min(), synapse.name
        assert accumulator.max() <= proven_sum.high, synapse.name
    assert proof.logits.low <= taps.logits.min()
    assert taps.logits.max() <= proof.logits.high
    return reached


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.integers(0, 2**32))
def test_no_input_leaves_its_interval(seed):
    program = random_program(seed)
    assert_inside(program, random_messages(program, 6, seed))


def one_layer(weight: np.ndarray, message: Message, padding: int = 0, leak: int = 2048, steps: int = 4) -> Program:
    """A convolution (or linear layer), one HM-DF population, and a read-out that sums the spikes."""
    size = 5
    shape = (weight.shape[1], size, size)
    conv = Synapse("conv", INPUT, Conv2d(weight.astype(np.int8), 8, padding=(padding, padding)))
    extents = conv.output_shape(shape)
    one = np.ones((1, 1), np.int32)
    neuron = HybridFiring(one * leak, 12, one * 100, 2)
    population = Population("act", extents, (Port("conv", one, 0),), one * 0, neuron, Message(4, False, 1.0))
    head = Synapse("head", "act", Linear(np.ones((2, int(np.prod(extents))), np.int8), 8))
    return Program(
        time_steps=steps,
        state_bits=24,
        accumulator_bits=24,
        input=Input(shape, message, "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(conv, population, head),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 2**32), st.booleans(), st.integers(0, 1), st.sampled_from([-4096, -500, 0, 2048, 4096, 6000]))
def test_adversarial_inputs_built_from_the_weight_signs_reach_the_accumulator_bound(seed, signed, padding, leak):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-128, 128, (3, 2, 3, 3))
    message = Message(6, signed, 1.0)
    program = one_layer(weight, message, padding, leak)
    low, high = message.range
    proof = ranges.prove(program).synapses["conv"]
    extremes = []
    for output in range(3):
        for best, worst in ((high, low), (low, high)):
            image = np.full((2, 5, 5), low)
            image[:, 1:4, 1:4] = np.where(weight[output] > 0, best, worst)
            extremes.append(image)
    messages = np.stack(extremes)[:, None]
    assert_inside(program, messages)
    accumulator = program.synapses[0].op.accumulate(messages[:, 0].astype(np.int64))
    assert accumulator.max() == proof.high
    assert accumulator.min() == proof.low


def test_the_membrane_follows_the_recurrence_for_all_steps():
    program = one_layer(np.ones((1, 1, 1, 1)), Message(6, False, 1.0), leak=4096, steps=3)
    # m_t <= theta + 63 once the threshold of 100 is reached: 63, 126, 100 + 63.
    proof = ranges.prove(program).populations["act"]
    assert proof.membrane == Interval(0, 163)
    assert proof.message == Interval(0, 15)
    assert proof.message_clamps  # (163 - 100) / 4 rounds to 16, over 15
    assert not proof.state_clamps


def test_a_wrong_bound_would_be_noticed(monkeypatch):
    program = one_layer(np.full((2, 2, 3, 3), 5), Message(6, False, 1.0))
    honest = Conv2d.bounds

    def too_tight(*arguments):
        bounds = honest(*arguments)
        return Bounds(bounds.low, bounds.high - 1)

    monkeypatch.setattr(Conv2d, "bounds", too_tight)
    with pytest.raises(AssertionError):
        assert_inside(program, np.full((1, 1, 2, 5, 5), 63))


def test_a_program_that_is_not_proven_is_named_with_its_bound():
    program = one_layer(np.full((2, 2, 3, 3), 100), Message(14, False, 1.0))
    reach = 100 * 18 * (2**14 - 1)
    (reason,) = ranges.unproven(program, ranges.prove(program))
    assert (reason.where, reason.resource, reason.available) == ("conv", "accumulator_bits", 24)
    assert f"spans 0..{reach}" in reason.problem
    safe = one_layer(np.full((2, 2, 3, 3), 100), Message(8, False, 1.0))
    assert ranges.unproven(safe, ranges.prove(safe)) == []
