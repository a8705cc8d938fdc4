"""The simulator's counters equal their definition, and the definition equals counts made by hand."""

import numpy as np
import pytest

from hmdf.sim import reference
from hmdf.sim.contract import INPUT, Conv2d, Linear, MaxPool, Message, Population, Port, Relay, SumPool, Synapse
from hmdf.sim.counters import count
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.simulator import Simulator
from programs import random_messages, random_program


def test_fast_counters_equal_the_definition():
    simulator, counted = Simulator(1), 0
    for seed in range(120):
        program = random_program(seed)
        messages = random_messages(program, 4, seed)
        result = simulator.simulate(program, messages)
        expected = count(program, messages, reference.run(program, messages))
        for name, right in expected.populations.items():
            got = result.counters.populations[name]
            for field in ("spikes", "spikes_per_sample"):
                assert np.array_equal(getattr(right, field), getattr(got, field)), (seed, name, field)
            assert right.density() == got.density()
        for name, right in expected.synapses.items():
            got = result.counters.synapses[name]
            assert np.array_equal(right.sops, got.sops), (seed, name)
            assert np.array_equal(right.sops_per_sample, got.sops_per_sample), (seed, name)
            assert (right.macs, right.weight_bytes) == (got.macs, got.weight_bytes)
            counted += int(right.sops.sum())
        assert np.array_equal(expected.sops_per_sample(), result.counters.sops_per_sample())
    assert counted > 100_000


def test_saturations_by_step_add_up_to_the_references():
    for seed in range(30):
        program = random_program(seed)
        messages = random_messages(program, 3, seed)
        counters = Simulator(1).simulate(program, messages).counters
        for name, total in reference.run(program, messages).saturations.items():
            got = counters.populations[name]
            assert got.state_saturations.shape == got.message_saturations.shape == (program.time_steps,)
            assert [got.state_saturations.sum(), got.message_saturations.sum()] == total.tolist()


def events(synapse: Synapse, shape: tuple[int, ...], messages: np.ndarray) -> int:
    """SOPs of one step and sample, one triple after the other, in loops."""
    total = 0
    if isinstance(synapse.op, Linear):
        flat = messages.reshape(-1)
        weight = synapse.op.weight
        return sum(1 for o in range(len(weight)) for i in range(flat.size) if flat[i] and weight[o, i])
    op = synapse.op
    _, height, width = synapse.output_shape(shape)
    pool = isinstance(op, SumPool | MaxPool)
    kernel = op.kernel if pool else synapse.op.weight.shape[2:]
    dilation = (1, 1) if pool else op.dilation
    outputs = shape[0] if pool else synapse.op.weight.shape[0]
    for o in range(outputs):
        inputs = [(o, None)] if pool else [
            (i + o // (outputs // op.groups) * synapse.op.weight.shape[1], i) for i in range(synapse.op.weight.shape[1])
        ]  # fmt: skip
        for y, x, u, v, (channel, i) in (
            (y, x, u, v, pair)
            for y in range(height)
            for x in range(width)
            for u in range(kernel[0])
            for v in range(kernel[1])
            for pair in inputs
        ):
            row = y * op.stride[0] + u * dilation[0] - op.padding[0]
            column = x * op.stride[1] + v * dilation[1] - op.padding[1]
            inside = 0 <= row < shape[1] and 0 <= column < shape[2]
            weight = 1 if pool else synapse.op.weight[o, i, u, v]
            total += bool(inside and weight and messages[channel, row, column])
    return total


WEIGHT = np.random.default_rng(2).integers(-1, 2, (6, 2, 3, 2)).astype(np.int8)
SYNAPSES = [
    Synapse("s", INPUT, Conv2d(WEIGHT, 2, (2, 1), (1, 1), (1, 2), 2)),
    Synapse("s", INPUT, Conv2d(WEIGHT, 2, (1, 2), (2, 0), (2, 1), 2)),
    Synapse("s", INPUT, SumPool((3, 2), (2, 1), (1, 0))),
    Synapse("s", INPUT, MaxPool((2, 2), (2, 2), (1, 1))),
    Synapse("s", INPUT, Linear(np.random.default_rng(3).integers(-1, 2, (4, 4 * 7 * 6)).astype(np.int8), 2)),
]


@pytest.mark.parametrize("synapse", SYNAPSES, ids=lambda s: type(s.op).__name__)
def test_definition_equals_counting_by_hand(synapse):
    shape = (4, 7, 6)
    rng = np.random.default_rng(0)
    messages = rng.integers(1, 16, (1, 2, *shape)) * (rng.random((1, 2, *shape)) < 0.4)
    counts = count(frames_program(synapse, shape), messages, reference.run(frames_program(synapse, shape), messages))
    by_hand = [events(synapse, shape, messages[0, t]) for t in range(2)]
    assert counts.synapses["s"].sops.tolist() == by_hand
    assert counts.synapses["s"].sops_per_sample.tolist() == [sum(by_hand)]
    assert synapse.op.fanout(shape).sum() == events(synapse, shape, np.ones(shape))


def frames_program(synapse: Synapse, shape: tuple[int, ...]) -> Program:
    out = synapse.output_shape(shape)
    one, zero = np.ones((1, 1), dtype=np.int32), np.zeros((1, 1), dtype=np.int32)
    return Program(
        time_steps=2,
        state_bits=24,
        accumulator_bits=24,
        input=Input(shape, Message(4, False, 1.0), "frames", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            synapse,
            Population("relay", out, (Port("s", one, 0),), zero, Relay(), Message(16, True, 1.0)),
            Synapse("head", "relay", Linear(np.ones((2, int(np.prod(out))), np.int8), 1)),
        ),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )


def test_dense_messages_are_macs():
    """A signed source: MACs whatever the messages are, and no SOPs."""
    program = frames_program(SYNAPSES[0], (4, 7, 6))
    quiet, busy = np.zeros((1, 2, 4, 7, 6), np.int64), np.full((1, 2, 4, 7, 6), 9)
    for messages in (quiet, busy):
        counters = Simulator(1).simulate(program, messages).counters
        head = counters.synapses["head"]
        assert not head.carries_spikes
        assert head.sops.sum() == 0
        assert head.macs == head.dense_macs * 2 == 2 * np.prod(program.shapes["relay"]) * 2
        assert counters.macs_per_sample() == head.macs
    assert counters.synapses["s"].macs == 0


def test_dense_macs_and_the_literatures_convention():
    program = frames_program(SYNAPSES[0], (4, 7, 6))
    out = program.shapes["s"]
    assert SYNAPSES[0].op.taps * np.prod(out) == 2 * 3 * 2 * np.prod(out)
    messages = (np.arange(2 * 4 * 7 * 6).reshape(1, 2, 4, 7, 6) % 4 == 0).astype(np.int64)
    counts = Simulator(1).simulate(program, messages).counters
    assert counts.populations[INPUT].density() == 0.25
    assert counts.synapses["s"].conventional_sops == 0.25 * SYNAPSES[0].op.taps * np.prod(out) * 2
    assert counts.synapses["s"].weight_bytes == -(-6 * 2 * 3 * 2 // 5)
    assert counts.weight_bytes() == counts.synapses["s"].weight_bytes + -(-2 * int(np.prod(out)) // 8)
