import numpy as np
import pytest
from chip_networks import (
    CURRENT,
    SPIKE,
    binary,
    column,
    program,
    relay,
    resnet18,
    spiking_chain,
)
from msgspec.structs import replace

from hmdf.hw_targets.events import assumed
from hmdf.hw_targets.judge.fit import check
from hmdf.hw_targets.judge.weight_noise import narrowed, signal_to_noise
from hmdf.hw_targets.on_targets import on_targets
from hmdf.hw_targets.target import load_target, target_names
from hmdf.sim.contract import (
    INPUT,
    Conv2d,
    Gate,
    HardResetIntegrateAndFire,
    HybridFiring,
    Linear,
    LookupTable,
    MaxPool,
    Message,
    MultiHierarchical,
    Population,
    Port,
    SumPool,
    Synapse,
)
from hmdf.sim.ranges import prove


@pytest.mark.parametrize("target", ["loihi1", "speck", "truenorth"])
def test_what_binary_chips_are_made_for_fits(target):
    assert [f for f in check(spiking_chain(), load_target(target)) if f.resource != "leak"] == []


def test_serialising_is_offered(toy, toy_chip):
    chip = toy_chip(
        ("message_bits = { value = 16", "message_bits = { value = 1"),
        ("signed_messages = { value = true", "signed_messages = { value = false"),
    )
    fire = next(f for f in check(toy, chip) if f.where == "fire")
    assert (fire.resource, fire.needed, fire.available) == ("message_bits", 4, 1)
    assert "256 more binary neurons" in fire.fix
    # 4 bits of LSB 0.25 in one bit: steps of 2.
    assert "0.25 -> 2" in fire.fix


def test_message_bits_at_the_limit(toy, toy_chip):
    assert check(toy, toy_chip(("message_bits = { value = 16", "message_bits = { value = 4"))) == []
    assert len(check(toy, toy_chip(("message_bits = { value = 16", "message_bits = { value = 3")))) == 2


@pytest.mark.parametrize(("chips", "found"), [(2, 1), (3, 0), (4, 0)])
def test_cores_at_below_and_above(toy, toy_chip, chips, found):
    chip = toy_chip(
        ("cores = { value = 16", "cores = { value = 1"), ("mesh = { value = [4, 4]", "mesh = { value = [1, 1]")
    )
    findings = check(toy, chip, chips)
    assert len(findings) == found
    if found:
        assert (findings[0].resource, findings[0].needed, findings[0].available) == ("cores", 3, 2)


def test_cores_that_rest_on_estimates_say_so(big):
    (finding,) = check(big, load_target("loihi2"))
    assert "136 cores; no mapping does with less than" in finding.problem
    assert "rests on estimates: input_axon_bits, output_axon_bits" in finding.problem


@pytest.mark.parametrize(("limit", "found"), [(19, 0), (18, 0), (17, 1)])
def test_fan_in_at_below_and_above(toy, toy_chip, limit, found):
    """3x3 over two channels: 18 synapses; the classes have 64."""
    line = f'fan_in_per_neuron = {{ value = {limit}, source = "s", status = "published" }}\n'
    findings = check(toy, toy_chip(("neurons_per_core", f"{line}neurons_per_core")))
    assert [f.where for f in findings] == ["fire"] * found + ["readout"]
    assert all(f.resource == "fan_in" for f in findings)


@pytest.mark.parametrize(("widths", "found"), [([1, 2, 4, 8], 0), ([1, 2], 0), ([1], 1)])
def test_weight_bits_at_below_and_above(toy, toy_chip, widths, found):
    """The convolution is ternary, the classes have one bit."""
    findings = check(toy, toy_chip(("value = [1, 2, 4, 8]", f"value = {widths}")))
    assert [f.where for f in findings] == ["conv"] * found


@pytest.mark.parametrize(("limit", "found"), [(65, 0), (64, 0), (63, 1)])
def test_input_axons_at_below_and_above(toy, toy_chip, limit, found):
    """A class listens to 64 neurons."""
    chip = toy_chip(("input_axons_per_core = { value = 1000", f"input_axons_per_core = {{ value = {limit}"))
    assert [(f.where, f.resource, f.needed) for f in check(toy, chip)] == [("readout", "input_axons", 64)] * found


@pytest.mark.parametrize(("room", "found"), [(22, 0), (21, 0), (20, 1)])
def test_memory_of_one_neuron_at_below_and_above(toy, toy_chip, room, found):
    """A fire neuron: 18 ternary weights in 5 bytes, 3 of membrane, 3 of accumulator, 10 of tables. A class needs 18."""
    chip = toy_chip(
        ("bytes = 4096", f"bytes = {room}"),
        ("cores = { value = 16", "cores = { value = 100"),
        ("mesh = { value = [4, 4]", "mesh = { value = [10, 10]"),
    )
    findings = check(toy, chip)
    assert [(f.where, f.resource, f.needed) for f in findings] == [("fire", "shared memory", 21)] * found


def test_accumulator_bits_at_below_and_above(toy, toy_chip):
    needed = prove(toy).synapses["classes"].bits
    assert needed > prove(toy).synapses["conv"].bits
    for bits, found in ((needed + 1, 0), (needed, 0), (needed - 1, 1)):
        chip = toy_chip(("accumulator_bits = { value = 24", f"accumulator_bits = {{ value = {bits}"))
        findings = [f for f in check(toy, chip) if f.where == "classes"]
        assert len(findings) == found
    assert findings[0].fix.startswith("'fire': messages 4 -> 3 bits")


def test_state_bits_follow_the_proof(toy, toy_chip):
    """The program's registers have 24 bits; a chip with fewer still holds it if its membranes provably need fewer."""
    proof = prove(toy).populations["fire"]
    needed = max(proof.membrane.bits, proof.current.bits)
    assert needed < 24
    fine = toy_chip(("state_bits = { value = 24", f"state_bits = {{ value = {needed}"))
    short = toy_chip(("state_bits = { value = 24", f"state_bits = {{ value = {needed - 1}"))
    assert check(toy, fine) == []
    (finding,) = check(toy, short)
    assert (finding.where, finding.resource, finding.needed) == ("fire", "state_bits", needed)
    assert "2 times" in finding.fix


def feature_network():
    """Per-step thresholds, a gate, both pools, a signed message, 8-bit weights: one of each."""
    shape = (2, 4, 4)
    table = LookupTable(np.arange(256, dtype=np.int32) // 2, 0)
    steps = np.array([[100], [200]], dtype=np.int32)
    firing = HybridFiring(column([2048]), 12, steps, 4)
    weight = np.array([[[[127]]], [[[3]]]], dtype=np.int8)
    nodes = (
        Synapse("wide", INPUT, Conv2d(np.tile(weight, (1, 2, 1, 1)), 8)),
        relay("current", shape, ["wide"], CURRENT),
        Synapse("mean", INPUT, SumPool((4, 4), (4, 4))),
        Population("gate", (2, 1, 1), (Port("mean", column([1]), 0),), column([0]), table, Message(7, False, 0.01)),
        Synapse("largest", INPUT, MaxPool((1, 1), (1, 1))),
        Population(
            "fire",
            shape,
            (Port("current", column([1]), 0), Port("largest", column([1]), 0)),
            column([0]),
            firing,
            SPIKE,
            Gate("gate", 6, column([0])),
        ),
        Synapse("classes", "fire", Linear(np.ones((3, 32), np.int8), 1)),
    )
    return program(nodes, shape, SPIKE, "frames", "classes", 3, steps=2)


def without(capability):
    return f"{capability} = {{ value = true", f"{capability} = {{ value = false"


@pytest.mark.parametrize(
    ("change", "node", "resource", "fix"),
    [
        (without("per_step_parameters"), "fire", "per_step_parameters", "by up to 50 (25 %"),
        (without("gates"), "fire", "gates", "without channel attention"),
        (without("sum_pool"), "mean", "sum_pool", "16 inputs"),
        (without("max_pool"), "largest", "max_pool", "1 inputs"),
        (without("leak"), "fire", "leak", "by up to 0.5"),
        (without("signed_messages"), "current", "signed_messages", "32 more neurons"),
        (("value = [1, 2, 4, 8]", "value = [1, 2, 4]"), "wide", "weight_bits", "4-bit weights: signal to noise"),
        (('"lookup_table", ', ""), "gate", "dynamics", "2 neurons change"),
        (without("multiplier"), "current", "multiplier", "unscaled"),
    ],
)
def test_each_missing_feature_is_one_finding(toy_chip, change, node, resource, fix):
    network = feature_network()
    roomy = (("neurons_per_core = { value = 32", "neurons_per_core = { value = 999"),)
    assert check(network, toy_chip(*roomy)) == []
    (finding,) = check(network, toy_chip(*roomy, change))
    assert (finding.where, finding.resource) == (node, resource)
    assert fix in finding.fix


def test_all_findings_at_once(toy_chip):
    chip = toy_chip(
        ("gates = { value = true", "gates = { value = false"),
        ("max_pool = { value = true", "max_pool = { value = false"),
        ("value = [1, 2, 4, 8]", "value = [1, 2, 4]"),
        ("neurons_per_core = { value = 32", "neurons_per_core = { value = 16"),
        ("cores = { value = 16", "cores = { value = 1"),
        ("mesh = { value = [4, 4]", "mesh = { value = [1, 1]"),
    )
    resources = [f.resource for f in check(feature_network(), chip)]
    assert sorted(resources) == ["cores", "gates", "max_pool", "weight_bits"]


def test_fan_in_is_said_once_with_the_groups_that_would_do(toy_chip):
    rng = np.random.default_rng(0)
    nodes = (
        Synapse("conv", INPUT, Conv2d(rng.integers(-1, 2, (8, 32, 3, 3)).astype(np.int8), 2, (1, 1), (1, 1))),
        binary("fire", (8, 4, 4), ["conv"]),
        Synapse("classes", "fire", Linear(np.ones((3, 128), np.int8), 1)),
    )
    network = program(nodes, (32, 4, 4), Message(1, False, 1.0), "frames", "classes", 3, state_bits=16)
    (finding,) = check(network, load_target("tianjic"))
    # 288 inputs, 256 allowed: two partial sums, or two groups of 16 channels.
    assert (finding.where, finding.resource, finding.needed, finding.available) == ("fire", "fan_in", 288, 256)
    assert "over 2 partial-sum neurons each: 256 more neurons" in finding.fix
    assert "'conv' in 2 groups" in finding.fix


def test_weights_that_are_too_wide_tell_their_noise():
    exact = np.array([[7, -7, 0, 1]], dtype=np.int8)
    assert signal_to_noise(exact, narrowed(exact, 4)) == np.inf
    one = np.array([[3, -1]], dtype=np.int8)
    # mean |w| = 2: error 1 and 1, power 10 over 2.
    assert signal_to_noise(one, narrowed(one, 1)) == pytest.approx(10 * np.log10(5))
    # ternary: 0.7 x 2 = 1.4 keeps the 3 alone.
    assert narrowed(one, 2).tolist() == [[3, 0]]


@pytest.mark.parametrize(
    ("target", "reset", "found"),
    [("loihi1", [0], 0), ("loihi1", [0, 0, -3, 0], 1), ("truenorth", [-3], 0), ("speck", [1], 1)],
)
def test_a_reset_to_a_value_is_asked_for(target, reset, found):
    chain = spiking_chain()
    neuron = HardResetIntegrateAndFire(column([1]), 0, column([4]), column(reset))
    nodes = [replace(n, dynamics=neuron) if n.name == "fire" else n for n in chain.nodes]
    findings = [f for f in check(replace(chain, nodes=tuple(nodes)), load_target(target)) if f.resource != "leak"]
    assert [f.resource for f in findings] == ["reset_to_value"] * found
    assert all("resets to 0" in f.problem and f.where == "fire" for f in findings)


@pytest.mark.parametrize(
    ("changed", "found"), [({}, 0), ({"soma_leak": 7}, 1), ({"dendrite_leak": 9}, 1), ({"soma_drive": 5}, 0)]
)
def test_the_leaks_of_two_states_are_asked_for_and_their_couplings_are_not(toy, toy_chip, changed, found):
    """Couplings belong to the dynamics, which the chip has."""
    fields = {"dendrite_leak": 8, "dendrite_feedback": 0, "soma_leak": 8, "soma_drive": 8, "threshold": 1} | changed
    arrays = {name: np.full((1, 1), value, np.int32) for name, value in fields.items()}
    neuron = MultiHierarchical(**arrays, leak_shift=3)
    fire = replace(toy.by_name["fire"], dynamics=neuron)
    network = replace(toy, nodes=tuple(fire if node.name == "fire" else node for node in toy.nodes))
    findings = check(network, toy_chip(without("leak")))
    assert [f.resource for f in findings] == ["leak"] * found


def test_on_all_targets(toy):
    verdicts = on_targets(toy, [load_target(name) for name in target_names()], assumed(toy))
    assert [v.target for v in verdicts] == target_names()
    assert {"cmos45", "generic", "loihi2", "spinnaker2"} <= {v.target for v in verdicts if v.fits}
    assert all(v.estimate is not None for v in verdicts)
    crowded = on_targets(resnet18(), [load_target("truenorth")], assumed(resnet18()))[0]
    assert crowded.estimate is None
    assert crowded.findings
