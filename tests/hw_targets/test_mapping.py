import itertools
import time

import msgspec
import numpy as np
import pytest
from chip_networks import TOY_CHIP, resnet34, spiking_chain

import hmdf.hw_targets.place.mapping as module
from hmdf.hw_targets.place.assignment import lower_bound
from hmdf.hw_targets.place.layers import layers_of
from hmdf.hw_targets.place.mapping import map_program
from hmdf.hw_targets.place.partition import partition
from hmdf.hw_targets.target import load_target, parse_target
from hmdf.sim.contract import INPUT, Synapse
from hmdf.sim.errors import DoesNotFit
from programs import random_program, recurrent_program


def test_toy_network_by_hand(toy, toy_chip):
    """64 neurons, 32 to a core: two blocks of two rows (24 input positions each; two channels each would need 32)."""
    mapping = map_program(toy, toy_chip())
    assert mapping.cores == 3
    first, second, classes = mapping.slices
    assert (first.layer, first.channels, first.rows, first.columns) == ("fire", (0, 4), (0, 2), (0, 4))
    assert (second.rows, second.core, classes.core) == ((2, 4), 1, 2)
    assert (first.neurons, first.input_axons, first.output_axons) == (32, 24, 32)
    # Every class reads every neuron; each neuron sends at both steps, to one core.
    assert (first.fan_in, first.fan_out, first.messages_out) == (2 * 3 * 3, 3, 32 * 2)
    assert (classes.fan_in, classes.fan_out, classes.messages_out) == (64, 0, 0)
    assert first.bytes == {
        "weights": 18,  # 72 ternary weights of 2 bits
        "state": 96,  # 32 membranes of 24 bits
        "accumulators": 96,  # 32 of 24 bits
        "parameters": 34,  # leak 16 bits; 4 channels x (multiplier 16 + threshold 24 + bias 24)
        "axons": 0,
        "buffers": 0,
    }
    # 3 sums of 24 bits and the carries of two steps; one bias of 24 bits per class.
    assert classes.bytes["weights"] == 24
    assert (classes.bytes["state"], classes.bytes["parameters"]) == (10, 9)
    assert mapping.lower_bound.cores == 3  # 67 neurons, 32 per core
    assert mapping.ratio == 1


def test_toy_network_is_placed_best(toy, toy_chip):
    """All 3,360 places of three cores on the 4x4 mesh: none shortens the traffic, a hop in y counting twice."""
    chip = toy_chip()
    mapping = map_program(toy, chip)
    # Two messages per neuron and sample: 24 input positions to each half, 32 neurons of each half to the classes.
    links = [(-1, 0, 48), (-1, 1, 48), (0, 2, 64), (1, 2, 64)]

    def length(places):
        at = {-1: (0, 0), **dict(enumerate(places))}
        return sum(m * (abs(at[a][0] - at[b][0]) + 2 * abs(at[a][1] - at[b][1])) for a, b, m in links)

    mesh = list(itertools.product(range(4), range(4)))
    best = min(length(places) for places in itertools.permutations(mesh, 3))
    assert length([(use.x, use.y) for use in mapping.core_use]) == best
    hops = sum(t.hops_x + 2 * t.hops_y for t in mapping.travel.values())
    assert hops == best
    assert mapping.travel[INPUT].deliveries == 96
    assert mapping.travel["fire"].deliveries == 128
    for travel, sent in ((mapping.travel[INPUT], 32 * 2), (mapping.travel["fire"], 64 * 2)):
        assert travel.messages == sent
        assert travel.hops_per_message == (travel.hops_x + travel.hops_y) / sent
    assert mapping.travel["fire"].hops_per_message == 1


@pytest.mark.parametrize(("limit", "slices"), [(65, 1), (64, 1), (63, 2), (32, 2), (31, 4)])
def test_neuron_limit_at_below_and_above(toy, toy_chip, limit, slices):
    chip = toy_chip(("neurons_per_core = { value = 32", f"neurons_per_core = {{ value = {limit}"))
    mapping = map_program(toy, chip)
    assert sum(s.layer == "fire" for s in mapping.slices) == slices
    assert max(use.neurons for use in mapping.core_use) <= limit


@pytest.mark.parametrize(("surplus", "slices"), [(1, 1), (0, 1), (-1, 2)])
def test_memory_limit_at_below_and_above(toy, toy_chip, surplus, slices):
    whole = 18 + 192 + 192 + 34
    chip = toy_chip(("value = 32", "value = 64"), ("bytes = 4096", f"bytes = {whole + surplus}"))
    mapping = map_program(toy, chip)
    assert sum(s.layer == "fire" for s in mapping.slices) == slices
    assert all(use.memory_use <= 1 for use in mapping.core_use)


@pytest.mark.parametrize(
    ("axon", "limit", "slices"),
    [("input", 64, 2), ("input", 24, 2), ("input", 23, 8), ("output", 32, 2), ("output", 31, 4)],
)
def test_axon_limits(toy, toy_chip, axon, limit, slices):
    """Two rows of outputs read three of 4x2 inputs, 24; 23 forces half rows, 3x3x2 = 18 each. 32 neurons send once."""
    chip = toy_chip((f"{axon}_axons_per_core = {{ value = 1000", f"{axon}_axons_per_core = {{ value = {limit}"))
    cuts = partition(toy, chip).cuts
    assert cuts[0].slices == slices


def test_the_smallest_slice_that_does_not_fit_is_named(toy, toy_chip):
    chip = toy_chip(("input_axons_per_core = { value = 1000", "input_axons_per_core = { value = 63"))
    with pytest.raises(DoesNotFit, match="'readout' does not fit a core of toy: input_axons 64, limit 63"):
        map_program(toy, chip)


def test_unshared_kernels_store_every_connection(toy, toy_chip):
    """3x3 with padding over 4x4: 10 x 10 valid (row, column) taps; x 2 x 4 channel pairs x 2 bits."""
    chip = toy_chip(("shared_kernels = { value = true", "shared_kernels = { value = false"))
    slices = map_program(toy, chip).slices
    assert sum(s.bytes["weights"] for s in slices if s.layer == "fire") == 10 * 10 * 8 * 2 // 8


def test_connections_equal_the_synapses_of_the_counters():
    """The reach of every edge, counted as connections, is that of the simulator's counters, on random programs."""
    for seed in range(40):
        program = random_program(seed)
        for layer in layers_of(program):
            for edge in layer.edges:
                synapse = program.by_name.get(edge.name)
                if not isinstance(synapse, Synapse) or 0 in getattr(synapse.op, "weight", ()):
                    continue
                reads = (edge.last - edge.first).sum() * edge.rows.sum() * edge.columns.sum()
                leaving = synapse.op.fanout(program.shapes[synapse.source])
                assert reads == leaving.sum()
                assert edge.fan_out() == leaving.max()


def test_limits_hold_and_nothing_is_lost_on_random_programs():
    """Every neuron is on exactly one core, no core is over a limit, and never fewer cores than the bound."""
    chip = load_target("loihi2")
    tight = TOY_CHIP.replace("bytes = 4096", "bytes = 60000").replace("value = 1000", "value = 2000")
    mapped = 0
    for seed in range(40):
        program = recurrent_program(seed) if seed % 4 == 3 else random_program(seed)
        for target in (chip, parse_target(tight, "tight")):
            try:
                mapping = map_program(program, target)
            except DoesNotFit:
                continue
            mapped += 1
            for layer in layers_of(program):
                covered = np.zeros(layer.shape, int)
                for s in mapping.slices:
                    if s.layer == layer.name:
                        covered[slice(*s.channels), slice(*s.rows), slice(*s.columns)] += 1
                assert (covered == 1).all()
            assert all(use.neurons <= target.limits.neurons_per_core for use in mapping.core_use)
            assert all(use.memory_use <= 1 for use in mapping.core_use)
            assert mapping.cores >= mapping.lower_bound.cores
            places = [(use.chip, use.x, use.y) for use in mapping.core_use]
            assert max(places.count(p) for p in places) <= (target.limits.cores_per_tile or 1)
    assert mapped > 60


def test_messages_are_conserved(big):
    """What the layers deliver is what the cores receive; a message reaches at least one core per reader."""
    mapping = map_program(big, load_target("loihi2"))
    delivered = sum(t.deliveries for t in mapping.travel.values())
    assert delivered == pytest.approx(sum(use.messages_in for use in mapping.core_use))
    fire = mapping.travel["s0b0.act1"]
    assert fire.deliveries >= 64 * 32 * 32 * 4


def test_placement_helps(big):
    """Better than the order of the layers alone, on the same links."""
    target = load_target("akida")
    placed = map_program(big, target)
    original, module.place = module.place, lambda mesh, cores, traffic, weights: np.arange(cores)
    try:
        ordered = map_program(big, target)
    finally:
        module.place = original
    assert placed.mean_hops < ordered.mean_hops


def test_mapping_is_deterministic_and_json(big):
    one, two = (map_program(big, load_target("loihi2")) for _ in range(2))
    text = msgspec.json.encode(one)
    assert text == msgspec.json.encode(two)
    assert len(msgspec.json.decode(text)["core_use"]) == one.cores


def test_speck_gives_each_layer_a_core_that_holds_it():
    mapping = map_program(spiking_chain(), load_target("speck"))
    assert sorted(s.core for s in mapping.slices) == [0, 1]


def test_without_limits_everything_is_one_core(big):
    mapping = map_program(big, load_target("generic"))
    assert (mapping.cores, mapping.ratio, mapping.mean_hops) == (1, 1.0, 0.0)


def test_an_assumption_is_said(toy, toy_chip):
    assert map_program(toy, toy_chip()).traffic.startswith("assumed")


def test_lower_bound_is_named(big):
    assert lower_bound(big, load_target("loihi2")).resource == "neurons"


def test_big_networks_map_in_time(big):
    start = time.perf_counter()
    small = map_program(big, load_target("loihi2"))
    middle = time.perf_counter()
    large = map_program(resnet34(), load_target("loihi2"))
    end = time.perf_counter()
    assert middle - start <= 2
    assert end - middle <= 20
    assert small.chips == 2
    assert large.chips > 4
