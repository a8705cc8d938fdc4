from math import prod

import chip_networks
import numpy as np
import pytest
from chip_networks import TOY_CHIP, mixed_network, spiking_chain

from hmdf.hw_targets.events import EventCounts, assumed, measured
from hmdf.hw_targets.place.mapping import map_program
from hmdf.hw_targets.price.conventions import conventions, macs_beyond
from hmdf.hw_targets.price.cost import estimate
from hmdf.hw_targets.price.references import ann, neurobench
from hmdf.hw_targets.schema import UNITS, Cost
from hmdf.hw_targets.target import load_target
from hmdf.sim.contract import INPUT, Conv2d, Linear, Message, ParallelFiring, Population, Port, Relay, SumPool, Synapse
from hmdf.sim.counters import count
from hmdf.sim.errors import InputError
from hmdf.sim.reference import run
from programs import random_messages, random_program


@pytest.fixture
def events():
    """Two samples, counted by an imagined simulator."""
    return EventCounts(
        True,
        {INPUT: np.array([10.0, 20.0]), "fire": np.array([30.0, 50.0])},
        {"conv": np.array([100.0, 300.0]), "classes": np.array([90.0, 150.0])},
        {"conv": 0.0, "classes": 0.0},
    )


TYPICAL = {
    ("conv", "synaptic_op_energy"): 200 * 2,
    ("classes", "synaptic_op_energy"): 120 * 2,
    ("fire", "neuron_active_energy"): 40 * 10,
    ("fire", "neuron_inactive_energy"): (64 * 2 - 40) * 4,
    ("readout", "neuron_inactive_energy"): 3 * 2 * 4,
    ("input", "message_energy"): 15 * (48 / 32) * 7,  # 24 of the 32 positions to each of two cores
    ("fire", "message_energy"): 40 * 7,
    # Input to (0,0) and (2,0), the classes between them at (1,0): 24/32 of 15 messages go two hops, 40 spikes one.
    ("input", "hop_x_energy"): 22.5,
    ("fire", "hop_x_energy"): 40.0,
    ("input", "hop_y_energy"): 0.0,
    ("fire", "hop_y_energy"): 0.0,
    # A fire core: (200 SOPs x 1 + 40 x 3 + 88 x 2) / 2 + 20 messages sent = 268 ns in two steps; two hops; barrier 20.
    ("chip", "static_power"): 2 * (134 + 2 + 20) * 1.0,
}


def test_energy_and_time_by_hand(toy, toy_chip, events):
    result = estimate(toy, toy_chip(), events)
    rows = {(row.node, row.constant): row.energy.typical for row in result.energy.rows}
    assert rows == pytest.approx(TYPICAL)
    assert result.energy.total.typical == pytest.approx(sum(TYPICAL.values()))
    assert result.timing.step == Cost(146, 156, 166)
    assert result.timing.period == Cost(292, 312, 332)
    assert result.timing.depth == 2
    assert result.timing.sample.typical == 3 * 156
    assert result.timing.bound == "core"
    assert result.timing.by_sample == pytest.approx([3 * (156 - 30), 3 * (156 + 30)])
    assert result.energy.missing == ()


def test_low_and_high_stay_apart(toy, toy_chip, events):
    total = estimate(toy, toy_chip(), events).energy.total
    sops = 200 + 120
    assert total.typical - total.low == pytest.approx(sops * 1 + 20)
    assert total.high - total.typical == pytest.approx(sops * 1 + 20)


def test_sums_agree(toy, toy_chip, events):
    energy = estimate(toy, toy_chip(), events).energy
    for groups in (energy.by_node, energy.by_constant):
        assert sum(c.typical for c in groups.values()) == pytest.approx(energy.total.typical)
    assert energy.spread.mean == pytest.approx(energy.total.typical)
    # Per sample: 130 SOPs, 10 spikes (10 - 4 each, 7, 1 hop), 5 inputs (1.5 x 7 and 1.5 hops) less or more; and the
    # slower core's 50 SOPs, 5 updates (3 - 2 ns) and 5 messages make 60 ns more in both steps, at 1 mW.
    deviation = (100 + 30) * 2 + 10 * (6 + 7 + 1) + 5 * (1.5 * 7 + 1.5) + 60
    assert energy.spread.largest - energy.spread.mean == pytest.approx(deviation)
    assert energy.spread.std == pytest.approx(deviation)


ENERGIES = [name for name, unit in UNITS.items() if unit == "pJ" and f"\n{name} = " in TOY_CHIP]


@pytest.fixture(scope="module")
def mixed():
    """A program with every kind of event, and what it did on two samples."""
    program = mixed_network()
    messages = np.random.default_rng(0).integers(0, 16, (2, 2, 2, 4, 4)) * (np.arange(16).reshape(4, 4) % 3 > 0)
    return program, measured(count(program, messages, run(program, messages)))


def scaled(toy_chip, constant):
    """The toy chip with one constant tripled."""
    line = next(x for x in TOY_CHIP.splitlines() if x.startswith(f"{constant} = "))
    cost = getattr(toy_chip().costs, constant)
    triple = f"{constant} = {{ low = {3 * cost.low}, typical = {3 * cost.typical}, high = {3 * cost.high}, "
    return toy_chip((line, triple + line[line.index("unit") :]))


@pytest.mark.parametrize("constant", [*ENERGIES, "static_power"])
def test_scaling_a_constant_scales_exactly_its_rows(mixed, toy_chip, constant):
    program, events = mixed
    mapping = map_program(program, toy_chip(), events)
    before, after = (
        estimate(program, t, events, mapping).energy.rows for t in (toy_chip(), scaled(toy_chip, constant))
    )
    for old, new in zip(before, after, strict=True):
        factor = 3 if old.constant == constant else 1
        assert new.energy.typical == pytest.approx(factor * old.energy.typical)
        assert new.energy.low == pytest.approx(factor * old.energy.low)
        assert new.energy.high == pytest.approx(factor * old.energy.high)
    assert sum(row.energy.typical for row in before if row.constant == constant) > 0


@pytest.mark.parametrize("constant", [name for name, unit in UNITS.items() if unit == "ns" and name != "step_time"])
def test_scaling_a_time_changes_the_time_and_the_static_energy_alone(mixed, toy_chip, constant):
    program, events = mixed
    mapping = map_program(program, toy_chip(), events)
    before, after = (estimate(program, t, events, mapping) for t in (toy_chip(), scaled(toy_chip, constant)))
    assert after.timing.step.typical >= before.timing.step.typical
    for old, new in zip(before.energy.rows, after.energy.rows, strict=True):
        ratio = after.timing.period.typical / before.timing.period.typical if old.constant == "static_power" else 1
        assert new.energy.typical == pytest.approx(ratio * old.energy.typical)
    if constant == "barrier_time":
        assert after.timing.step.typical - before.timing.step.typical == pytest.approx(2 * 20)


def test_an_unknown_constant_is_named_and_in_no_sum(toy, toy_chip, events):
    line = next(x for x in TOY_CHIP.splitlines() if x.startswith("neuron_active_energy = "))
    energy = estimate(toy, toy_chip((line, "")), events).energy
    assert energy.missing == ("neuron_active_energy",)
    assert energy.total.typical == pytest.approx(sum(TYPICAL.values()) - 400)
    unknown = estimate(toy, load_target("spinnaker2"), events)
    assert unknown.energy.total is None
    assert unknown.timing is None
    assert "synaptic_op_energy" in unknown.energy.missing


def test_status_is_the_weakest(toy, events):
    assert estimate(toy, load_target("loihi2"), events).energy.status == "estimate"
    loihi = estimate(toy, load_target("loihi1"), events)
    assert loihi.energy.status == "published"
    assert {c.key for c in loihi.constants} >= {"costs.synaptic_op_energy", "costs.static_power", "costs.barrier_time"}
    assert all(c.source in load_target("loihi1").sources for c in loihi.constants)


def test_truenorth_is_26_pj_per_synaptic_event(events):
    program = spiking_chain()
    events = EventCounts(True, events.messages, events.sops, events.macs)
    result = estimate(program, load_target("truenorth"), events)
    assert result.energy.total.typical == pytest.approx(26 * 320)
    assert result.timing.step.typical == 1e6


def test_tianjic_is_power_times_time(toy, events):
    result = estimate(toy, load_target("tianjic"), events)
    assert result.energy.total.typical == pytest.approx(400 * 2 * 16833)


FIRE = ParallelFiring(np.zeros((1, 1), np.int32), 0)
SPIKES = Message(4, False, 1.0)


def layer(name, sources, dynamics, message, shape=(1, 3, 3)):
    """Neurons that add their sources as they are."""
    one = np.ones((1, 1), np.int32)
    return Population(name, shape, tuple(Port(s, one, 0) for s in sources), 0 * one, dynamics, message)


def conv(name, source, *rows):
    return Synapse(name, source, Conv2d(np.array(rows, np.int8)[None, None], 2, padding=(len(rows) // 2,) * 2))


def counted_by_hand(spikes=SPIKES):
    """A picture with one pixel, shown in both steps: stem, spikes, convolution beside a dense shortcut, sums of the
    spikes of each row, as wide as they must be, a convolution that reads these, classifier.
    """
    nodes = (
        conv("stem", INPUT, (0, 1, 0), (1, 1, 1), (0, 1, -1)),
        layer("current", ["stem"], Relay(), Message(16, True, 1.0)),
        layer("fire", ["current"], FIRE, SPIKES),
        conv("conv", "fire", (0, 0, 0), (0, 1, 1), (0, 0, 0)),
        conv("shortcut", "current", (1,)),
        layer("sum", ["conv", "shortcut"], FIRE, SPIKES),
        Synapse("pool", "sum", SumPool((1, 3), (1, 3))),
        layer("rows", ["pool"], Relay(), Message(6, False, 1.0), (1, 3, 1)),
        conv("behind", "rows", (1,)),
        layer("last", ["behind"], FIRE, spikes, (1, 3, 1)),
        Synapse("classifier", "last", Linear(np.array([[1, 1, 1], [0, 1, 0]], np.int8), 2)),
    )
    network = chip_networks.program(nodes, (1, 3, 3), Message(8, True, 1.0), "constant", "classifier", 2, steps=2)
    picture = np.zeros((1, 1, 1, 3, 3), np.int64)
    picture[..., 1, 1] = 5
    taps = run(network, picture)
    sent = {name: taps.messages[name][0, 0, 0].tolist() for name in ("current", "fire", "sum", "rows")}
    assert sent == {
        "current": [[-5, 5, 0], [5, 5, 5], [0, 5, 0]],
        "fire": [[0, 5, 0], [5, 5, 5], [0, 5, 0]],
        "sum": [[0, 10, 0], [15, 15, 10], [5, 10, 0]],
        "rows": [[10], [40], [15]],
    }
    return network, measured(count(network, picture, taps))


@pytest.fixture(scope="module")
def counted():
    return counted_by_hand()


# A step. Weights that are not 0: the centre's meets 9 positions, one beside it 6, one at a corner 4.
STEM = 9 + 4 * 6 + 4
# The 5 spikes meet the weight of the centre, and 4 of them, those with a left neighbour, the one beside it.
CONV = 5 + 4
# Every message of the current, of which 6 are not 0: more than HM-DF counts.
SHORTCUT = 9
BEHIND = 3
# 3 spikes, to the first class each, and the one of the middle to the second too.
CLASSIFIER = 3 + 1
# As Spikformer counts: 5 of 9 fire over 9 x 9 weights, 6 of 9 of the current over 9; of the rows all.
CONV_DENSE, SHORTCUT_DENSE, BEHIND_DENSE, CLASSIFIER_DENSE = 45, 6, 3, 6


def test_a_network_counted_by_hand_in_each_convention(counted):
    program, events = counted
    found = conventions(program, events, load_target("cmos45"))
    sops = {name: convention.sops for name, convention in found.items()}
    energies = {name: convention.energy_pj for name, convention in found.items()}
    hm_df = 2 * (CONV + SHORTCUT + BEHIND)
    exact = hm_df + 2 * CLASSIFIER
    spikformer = 2 * (CONV_DENSE + SHORTCUT_DENSE + BEHIND_DENSE + CLASSIFIER_DENSE)
    assert sops == pytest.approx({"exact": exact, "hm_df": hm_df, "spikformer": spikformer})
    assert energies == pytest.approx(
        {
            "exact": 4.6 * STEM + 0.9 * exact,
            "hm_df": 0.9 / 8 * hm_df,  # the network has 4-bit spikes: one price, for pools and shortcuts as well
            "spikformer": 4.6 * 81 + 0.9 * spikformer,
        }
    )


def test_a_network_with_wider_spikes_is_not_hd_lifs_compressed_form():
    program, events = counted_by_hand(Message(5, False, 1.0))
    found = conventions(program, events, load_target("cmos45"))["hm_df"]
    assert found.energy_pj == pytest.approx(0.9 * found.sops)


def test_cmos45_is_the_literature_and_what_is_beyond_is_apart(counted):
    """4.6 pJ x MACs(stem) + 0.9 pJ x SOPs and nothing else: no pool, no port, no neuron, no step twice."""
    program, events = counted
    target = load_target("cmos45")
    spikes = CONV + BEHIND + CLASSIFIER
    total = estimate(program, target, events).energy.total
    assert total.low == total.high == pytest.approx(4.6 * STEM + 0.9 * 2 * (SHORTCUT + spikes), rel=1e-12)
    everything = 4.6 * 2 * (STEM + SHORTCUT) + 0.9 * 2 * spikes
    assert macs_beyond(program, events, target) == pytest.approx(everything - total.typical)


def test_event_input_has_no_stem_to_multiply():
    """Frames of spikes: the first layer's are SOPs; HM-DF leaves it out."""
    program = spiking_chain()
    messages = random_messages(program, 2, 0)
    counters = count(program, messages, run(program, messages))
    found = conventions(program, measured(counters), load_target("cmos45"))
    assert found["exact"].sops == pytest.approx(counters.sops_per_sample().mean())
    assert found["hm_df"].sops == 0
    assert found["spikformer"].sops == pytest.approx(sum(s.conventional_sops for s in counters.synapses.values()))


@pytest.mark.parametrize("seed", range(6))
def test_conventions_agree_with_the_target_and_the_counters(seed):
    program = random_program(seed)
    messages = random_messages(program, 3, seed)
    counters = count(program, messages, run(program, messages))
    events = measured(counters)
    found = conventions(program, events, load_target("cmos45"))
    total = estimate(program, load_target("cmos45"), events).energy.total
    assert (0 if total is None else total.typical) == pytest.approx(found["exact"].energy_pj)
    assert found["spikformer"].sops == pytest.approx(sum(s.conventional_sops for s in counters.synapses.values()))
    assert found["hm_df"].sops <= found["exact"].sops


def test_other_targets_have_no_constants_of_the_literature(toy, events):
    with pytest.raises(ValueError, match="cmos45 has them"):
        conventions(toy, events, load_target("loihi2"))


def test_ann_beside_it(toy):
    """3x3 over 2 channels to 4x16 outputs and 64 x 3: 1,344 MACs."""
    other = ann(toy, load_target("cmos45"))
    assert other.macs == 18 * 64 + 192
    assert other.int8.typical == pytest.approx(1344 * 0.23)
    assert other.fp32.typical == pytest.approx(1344 * 4.6)
    with pytest.raises(ValueError, match="cmos45 has them"):
        ann(toy, load_target("loihi2"))


def test_neurobench_names(toy, events):
    metrics = neurobench(toy, events)
    # 72 weights at 5 trits per byte, 192 bits, tables of 34 bytes and 3 biases of 24 bits.
    assert metrics.footprint == 15 + 24 + 34 + 9
    assert metrics.connection_sparsity == pytest.approx(24 / 264)
    assert metrics.activation_sparsity == pytest.approx(1 - 40 / 128)
    assert metrics.synaptic_operations.Effective_MACs == 320
    # 3x3 over 4x4 with padding: 10 x 10 (row, column) taps inside the frame, for 2 x 4 pairs of channels.
    assert metrics.synaptic_operations.Dense == 2 * (800 + 192)
    assert metrics.membrane_updates == 128
    binary = neurobench(spiking_chain(), events)
    assert binary.synaptic_operations.Effective_ACs == 200 + 120
    assert binary.synaptic_operations.Effective_MACs == 0


def test_counters_of_the_simulator_are_taken_as_they_are():
    for seed in range(6):
        program = random_program(seed)
        messages = random_messages(program, 3, seed)
        counters = count(program, messages, run(program, messages))
        events = measured(counters)
        assert events.samples == 3
        assert events.origin == "measured on 3 samples"
        upper = assumed(program)
        assert all(upper.sops[n] >= events.sops[n].max() for n in events.sops)
        assert upper.macs == pytest.approx(events.macs)


def test_counters_of_another_program_are_refused(toy, big):
    with pytest.raises(InputError, match="of another program: 'features' was not counted"):
        estimate(big, load_target("cmos45"), assumed(toy))


def test_memory_is_that_of_the_mapping(big):
    mapping = map_program(big, load_target("loihi2"))
    memory = estimate(big, load_target("loihi2"), None, mapping).memory
    assert memory["weights"] == sum(use.bytes["weights"] for use in mapping.core_use)
    stateful = sum(prod(p.shape) for p in big.populations if p.name.endswith("act1"))
    assert memory["state"] >= stateful * 3
