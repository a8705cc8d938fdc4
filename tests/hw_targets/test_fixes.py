"""The change that a finding proposes, carried out: the finding is gone, and a smaller change would not have done."""

import re

import msgspec
import numpy as np
from chip_networks import binary, program, resnet18, spiking_chain

from hmdf.export.passes.serialize import serialize
from hmdf.hw_targets.judge.fit import check
from hmdf.hw_targets.judge.weight_noise import narrowed
from hmdf.hw_targets.place.mapping import map_program
from hmdf.hw_targets.target import load_target
from hmdf.sim.contract import INPUT, Conv2d, Linear, Message, Synapse, WeightedOp

replace = msgspec.structs.replace


def with_nodes(network, change):
    return replace(network, nodes=tuple(change(node) for node in network.nodes))


def with_message_bits(network, name, bits):
    """`name` sends messages of `bits` bits, in steps so much larger that the range stays."""

    def narrow(message: Message) -> Message:
        return Message(bits, message.signed, message.scale * 2.0 ** (message.bits - bits))

    if name == INPUT:
        return replace(network, input=replace(network.input, message=narrow(network.input.message)))
    return with_nodes(network, lambda n: replace(n, message=narrow(n.message)) if n.name == name else n)


def with_weight_bits(network, bits):
    """Every wider weight in `bits` bits: signs at 1 bit, else scaled to the range."""

    def narrow(node):
        if not isinstance(node, Synapse) or not isinstance(node.op, WeightedOp) or node.op.weight_bits <= bits:
            return node
        near = narrowed(node.op.weight, bits)
        rows = np.abs(near).reshape(len(near), -1).max(axis=1).reshape(-1, *(1,) * (near.ndim - 1))
        top = 1 if bits <= 2 else (1 << (bits - 1)) - 1
        weight = np.rint(near / np.where(rows > 0, rows, 1) * top).astype(np.int8)
        return replace(node, op=replace(node.op, weight=weight, weight_bits=bits))

    return with_nodes(network, narrow)


def proposed(fix: str, pattern: str) -> tuple[int, ...]:
    found = re.search(pattern, fix)
    assert found, f"no '{pattern}' in '{fix}'"
    return tuple(int(number.replace(",", "")) for number in found.groups())


def test_more_chips(toy, toy_chip):
    chip = toy_chip(
        ("cores = { value = 16", "cores = { value = 1"), ("mesh = { value = [4, 4]", "mesh = { value = [1, 1]")
    )
    (finding,) = check(toy, chip)
    (chips,) = proposed(finding.fix, r"^(\d+) chips: 3 times the static power, typically 0.003 W")
    assert check(toy, chip, chips) == []
    assert len(check(toy, chip, chips - 1)) == 1
    assert map_program(toy, chip).chips == chips


def test_chips_that_cannot_be_joined(toy, toy_chip):
    chip = toy_chip(
        ("cores = { value = 16", 'chips = { value = 2, source = "s", status = "published" }\ncores = { value = 1'),
        ("mesh = { value = [4, 4]", "mesh = { value = [1, 1]"),
    )
    (finding,) = check(toy, chip, 100)
    assert (finding.needed, finding.available) == (3, 2)
    assert "3 chips, more than the 2 that can be joined" in finding.fix


def test_more_chips_where_cores_differ():
    """Speck has two cores with 64 Ki of kernel memory: three layers that need one each take two chips."""
    kernel = np.ones((64, 64, 3, 3), np.int8)
    nodes = []
    source = INPUT
    for name in ("a", "b", "c"):
        nodes += [Synapse(name, source, Conv2d(kernel, 8, (1, 1), (1, 1))), binary(f"{name}.fire", (64, 4, 4), [name])]
        source = f"{name}.fire"
    nodes.append(Synapse("classes", source, Linear(np.ones((3, 1024), np.int8), 1)))
    network = program(nodes, (64, 4, 4), Message(1, False, 1.0), "frames", "classes", 3, state_bits=16)
    speck = load_target("speck")
    (finding,) = check(network, speck)
    (chips,) = proposed(finding.fix, r"^(\d) chips")
    assert chips == 2
    assert check(network, speck, chips) == []
    mapping = map_program(network, speck)
    assert (mapping.cores, mapping.chips, mapping.ratio) == (4, 2, 1.0)


def test_a_layer_that_no_core_of_speck_holds():
    """36,864 bytes of kernels and 40,960 of membranes: both are there, on no core together."""
    rng = np.random.default_rng(0)
    kernel = rng.integers(-3, 4, (64, 64, 3, 3)).astype(np.int8)
    shape = (64, 16, 20)

    def network(channels):
        nodes = (
            Synapse("conv", INPUT, Conv2d(kernel[:channels], 8, (1, 1), (1, 1))),
            binary("fire", (channels, *shape[1:]), ["conv"]),
            Synapse("classes", "fire", Linear(np.ones((1, channels * 320), np.int8), 1)),
        )
        return program(nodes, shape, Message(1, False, 1.0), "frames", "classes", 1, state_bits=16)

    found = [f for f in check(network(64), load_target("speck")) if f.where == "fire"]
    assert [f.resource for f in found] == ["cores"]
    (channels,) = proposed(found[0].fix, r"\((\d+) channels\)")
    left = {n: [f for f in check(network(n), load_target("speck")) if f.resource == "cores"] for n in (channels, 64)}
    assert not left[channels]
    assert left[64]


def test_fewer_message_bits(toy, toy_chip):
    chip = toy_chip(("message_bits = { value = 16", "message_bits = { value = 3"))
    findings = check(toy, chip)
    assert [f.where for f in findings] == [INPUT, "fire"]
    fixed = toy
    for finding in findings:
        wide, bits = proposed(finding.fix, r"messages (\d) -> (\d) bits")
        assert (wide, bits) == (4, 3)
        fixed = with_message_bits(fixed, finding.where, bits)
    assert check(fixed, chip) == []


def test_narrower_messages_for_a_narrow_accumulator(toy, toy_chip):
    chip = toy_chip(("accumulator_bits = { value = 24", "accumulator_bits = { value = 10"))
    findings = [f for f in check(toy, chip) if f.where == "classes"]
    while findings:
        (finding,) = findings
        wide, bits = proposed(finding.fix, r"'fire': messages (\d) -> (\d) bits")
        short = finding.needed - finding.available
        assert wide - bits == short
        # One bit more is still too much.
        almost = check(with_message_bits(toy, "fire", bits + 1), chip)
        assert [f for f in almost if f.where == "classes"]
        toy = with_message_bits(toy, "fire", bits)
        findings = [f for f in check(toy, chip) if f.where == "classes"]


def test_narrower_weights_for_too_few_cores():
    """ResNet-18 with 8-bit stem and head and ternary weights needs 136 cores of 128; with 1-bit weights it fits."""
    big, loihi2 = resnet18(), load_target("loihi2")
    (finding,) = check(big, loihi2)
    assert (finding.resource, finding.needed, finding.available) == ("cores", 136, 128)
    bits, cores = proposed(finding.fix, r"or (\d)-bit weights: (\d+) cores")
    fixed = with_weight_bits(big, bits)
    assert check(fixed, loihi2) == []
    assert map_program(fixed, loihi2).cores == cores
    # The next wider width would not do.
    assert bits == 1
    assert check(with_weight_bits(big, 2), loihi2) != []


def test_no_narrower_weights_are_proposed_where_they_do_not_help(toy, toy_chip):
    chip = toy_chip(
        ("cores = { value = 16", "cores = { value = 2"), ("mesh = { value = [4, 4]", "mesh = { value = [2, 1]")
    )
    (finding,) = check(toy, chip)
    assert "weights" not in finding.fix
    assert check(with_weight_bits(toy, 1), chip) != []


def test_narrower_weights_where_wide_ones_cannot_be_stored(toy_chip):
    chip = toy_chip(("value = [1, 2, 4, 8]", "value = [1, 2]"))
    chain = spiking_chain()
    findings = check(chain, chip)
    assert {f.resource for f in findings} == {"weight_bits"}
    ((bits,),) = {proposed(f.fix, r"^(\d)-bit weights: signal to noise \d+\.\d dB") for f in findings}
    assert check(with_weight_bits(chain, bits), chip) == []


def test_narrower_weights_where_one_neuron_needs_too_much_memory(toy_chip):
    """A class with 64 weights of 8 bits, 3 of state, 3 of accumulator, 3 of bias."""
    network = with_nodes(
        spiking_chain(),
        lambda n: replace(n, op=Linear(np.full((3, 64), 100, np.int8), 8)) if n.name == "classes" else n,
    )
    chip = toy_chip(("bytes = 4096", "bytes = 60"))
    finding = next(f for f in check(network, chip) if f.where == "readout")
    assert (finding.resource, finding.available) == ("shared memory", 60)
    bits, slices = proposed(finding.fix, r"^(\d)-bit weights: then (\d+) slices")
    assert (bits, slices) == (4, 3)
    left = check(with_weight_bits(network, bits), chip)
    assert [f for f in left if f.resource == "shared memory"] == []


def test_serialised_spikes(toy, toy_chip):
    wide_input = 'input_message_bits = { value = 4, source = "s", status = "published" }\n'
    chip = toy_chip(
        ("message_bits = { value = 16", f"{wide_input}message_bits = {{ value = 1"),
        ("signed_messages = { value = true", "signed_messages = { value = false"),
    )
    (finding,) = check(toy, chip)
    (neurons,) = proposed(finding.fix, r"serialise its spikes \(exact, --serialize-spikes\): (\d+) more binary neurons")
    fixed = serialize(toy)
    assert check(fixed, chip) == []
    assert sum(s.neurons for s in map_program(fixed, chip).slices) == 64 + 3 + neurons


def test_groups_for_too_large_a_fan_in():
    rng = np.random.default_rng(0)
    weight = rng.integers(-1, 2, (8, 32, 3, 3)).astype(np.int8)

    def network(groups):
        kernel = weight[:, : 32 // groups]
        nodes = (
            Synapse("conv", INPUT, Conv2d(kernel, 2, (1, 1), (1, 1), groups=groups)),
            binary("fire", (8, 4, 4), ["conv"]),
            Synapse("classes", "fire", Linear(np.ones((3, 128), np.int8), 1)),
        )
        return program(nodes, (32, 4, 4), Message(1, False, 1.0), "frames", "classes", 3, state_bits=16)

    tianjic = load_target("tianjic")
    (finding,) = check(network(1), tianjic)
    (groups,) = proposed(finding.fix, r"'conv' in (\d+) groups")
    assert check(network(groups), tianjic) == []
