from math import prod

import numpy as np
import pytest
from chip_networks import TOY_CHIP, mixed_network, spiking_chain

from hmdf.hw_targets.events import Events, assumed, measured
from hmdf.hw_targets.place.mapping import map_program
from hmdf.hw_targets.price.cost import estimate
from hmdf.hw_targets.price.references import ann, hd_lif_energy, neurobench
from hmdf.hw_targets.target import UNITS, Cost, load_target
from hmdf.sim.contract import INPUT
from hmdf.sim.counters import count
from hmdf.sim.errors import InputError
from hmdf.sim.reference import run
from programs import random_messages, random_program


@pytest.fixture
def events():
    """Two samples, counted by an imagined simulator."""
    return Events(
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
    events = Events(True, events.messages, events.sops, events.macs)
    result = estimate(program, load_target("truenorth"), events)
    assert result.energy.total.typical == pytest.approx(26 * 320)
    assert result.timing.step.typical == 1e6


def test_tianjic_is_power_times_time(toy, events):
    result = estimate(toy, load_target("tianjic"), events)
    assert result.energy.total.typical == pytest.approx(400 * 2 * 16833)


def test_cmos45_is_the_literature_to_the_digit(big):
    """4.6 pJ x MACs + 0.9 pJ x SOPs and nothing else: no pool, no port, no neuron."""
    events = assumed(big)
    stem = {"stem"}
    dense = {s.name for s in big.synapses if s.weight is not None and not big.carries_spikes(s)}
    assert stem < dense
    macs = sum(events.macs[name] for name in dense)
    sops = sum(float(events.sops[s.name][0]) for s in big.synapses if s.weight is not None)
    total = estimate(big, load_target("cmos45"), events).energy.total
    assert total.low == total.high == pytest.approx(4.6 * macs + 0.9 * sops, rel=1e-12)


@pytest.mark.parametrize(
    ("sops", "picojoule"),
    [(273.0e6, 245.7e6), (284.5e6, 256.05e6), (233.8e6, 210.42e6), (254.1e6, 228.69e6), (190.1e6, 171.09e6)],
)
def test_the_ablation_rows_of_hd_lif(sops, picojoule):
    """Its five SOP counts at 0.9 pJ; the 4-bit rows again at an eighth of that."""
    program = spiking_chain()
    events = Events(
        True,
        {INPUT: np.array([0.0]), "fire": np.array([0.0])},
        {"conv": np.array([sops]), "classes": np.array([0.0])},
        {"conv": 0.0, "classes": 0.0},
    )
    cmos = load_target("cmos45")
    assert estimate(program, cmos, events).energy.total.typical == pytest.approx(picojoule, rel=1e-12)
    assert hd_lif_energy(program, events, cmos) == pytest.approx(picojoule, rel=1e-12)


def test_hd_lif_charges_an_eighth_for_4_bit_spikes(toy, events):
    assert hd_lif_energy(toy, events, load_target("cmos45")) == pytest.approx(0.9 / 8 * 320)


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
        energy = estimate(program, load_target("cmos45"), events).energy
        weighted = [s for s in program.synapses if s.weight is not None]
        sops = sum(counters.synapses[s.name].sops.sum() / 3 for s in weighted)
        macs = sum(counters.synapses[s.name].macs for s in weighted)
        assert energy.total is None or energy.total.typical == pytest.approx(0.9 * sops + 4.6 * macs)
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
