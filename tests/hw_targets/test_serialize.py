import numpy as np
import pytest
from chip_networks import program, relay, resnet18, toy_network

from hmdf.export.passes.serialize import serialize
from hmdf.hw_targets.judge.fit import check
from hmdf.hw_targets.judge.serializable import is_local, obstacle
from hmdf.sim.contract import (
    INPUT,
    Conv2d,
    Linear,
    Message,
    ParallelFiring,
    Population,
    Port,
    SumPool,
    Synapse,
)
from hmdf.sim.executor import Taps
from hmdf.sim.reference import run
from hmdf.sim.verify import compare
from programs import random_messages, random_program, recurrent_program


class Serialised:
    """The executor of a program that runs its serialised form."""

    name = "serialised"

    def run(self, program, messages):
        taps = run(serialize(program), messages)
        return Taps({p.name: taps.messages[p.name] for p in program.populations}, taps.logits)


def assert_same(original, messages):
    """Every population of the original sends the same messages, and the logits are equal."""
    (comparison,) = compare(original, messages, [Serialised()])
    assert comparison.bit_exact, comparison.first_mismatch


def test_equal_on_random_programs():
    """All dynamics, merges, residual ports, pools, groups; half of the programs have something to serialise."""
    changed = 0
    for seed in range(60):
        original = recurrent_program(seed) if seed % 6 == 5 else random_program(seed)
        serialised = serialize(original)
        changed += len(serialised.nodes) > len(original.nodes)
        assert_same(original, random_messages(original, 4, seed))
    assert changed > 30


def test_only_binary_messages_are_left_to_travel():
    for seed in range(60):
        original = recurrent_program(seed) if seed % 6 == 5 else random_program(seed)
        serialised = serialize(original)
        for population in serialised.populations:
            if population.message.bits == 1 or is_local(serialised, population):
                continue
            assert population.name in original.by_name
            assert obstacle(original, original.by_name[population.name]) is not None


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("shape", [(3, 4, 4), (6,)])
def test_every_number_of_bits(bits, shape):
    """Every value of a spike comes through all kinds of readers: convolution, pool, direct port, linear."""
    spike = Message(bits, False, 0.25)
    passed = ParallelFiring(np.zeros((1, 1), np.int32), 0)
    one = np.ones((1, 1), np.int32)
    rng = np.random.default_rng(bits)
    nodes = [Population("fire", shape, (Port(INPUT, one, 0),), 0 * one, passed, spike)]
    if len(shape) == 3:
        weight = rng.integers(-1, 2, (3, 3, 3, 3)).astype(np.int8)
        nodes += [
            Synapse("conv", "fire", Conv2d(weight, 2, (1, 1), (1, 1))),
            Synapse("pool", "fire", SumPool((3, 3), (1, 1), (1, 1))),
            relay("sum", shape, ["conv", "pool", "fire"], Message(16, True, 1.0)),
        ]
    else:
        weight = rng.integers(-1, 2, (6, 6)).astype(np.int8)
        nodes += [
            Synapse("full", "fire", Linear(weight, 2)),
            relay("sum", shape, ["full", "fire"], Message(16, True, 1.0)),
        ]
    nodes.append(Synapse("classes", "fire", Linear(np.ones((2, int(np.prod(shape))), np.int8), 1)))
    original = program(nodes, shape, spike, "frames", "classes", 2, steps=3)
    serialised = serialize(original)
    assert is_local(serialised, serialised.by_name["fire"])
    assert serialised.by_name["fire.bits"].message.bits == 1
    values = np.arange(4 * 3 * int(np.prod(shape))) % (1 << bits)
    assert_same(original, values.reshape(4, 3, *shape))


def test_what_cannot_be_serialised_says_why(big):
    assert obstacle(big, big.by_name["x"]) == "its messages are signed"
    toy = toy_network()
    assert obstacle(toy, toy.by_name["fire"]) is None
    nodes = list(toy.nodes)
    nodes[2] = Synapse("classes", "fire", Linear(np.full((3, 64), 100, np.int8), 8))
    heavy = program(nodes, (2, 4, 4), toy.input.message, "frames", "classes", 3)
    assert "exceed 8 bits" in obstacle(heavy, heavy.by_name["fire"])
    assert serialize(heavy) is heavy


def test_a_serialised_network_fits_where_only_the_bits_were_wrong(toy, toy_chip):
    wide_input = 'input_message_bits = { value = 4, source = "s", status = "published" }\n'
    chip = toy_chip(
        ("message_bits = { value = 16", f"{wide_input}message_bits = {{ value = 1"),
        ("signed_messages = { value = true", "signed_messages = { value = false"),
    )
    assert [f.where for f in check(toy, chip)] == ["fire"]
    assert check(serialize(toy), chip) == []


def test_resnet18_serialises():
    serialised = serialize(resnet18())
    binary = [p for p in serialised.populations if p.name.endswith(".bits")]
    assert len(binary) == 16
    assert all(p.message.bits == 1 for p in binary)
