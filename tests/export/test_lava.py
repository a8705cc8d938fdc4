"""Bundles in real Lava against the reference. A machine on which Lava cannot run fails here; nothing is skipped."""

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from hmdf.export.lava import Lava, export_bundle
from hmdf.export.lava.wiring import wire
from hmdf.sim.contract import (
    INPUT,
    ChannelConv,
    Conv2d,
    CurrentBasedLeakyIntegrateAndFire,
    Dynamics,
    Gate,
    HybridFiring,
    Linear,
    LookupTable,
    MaxPool,
    Message,
    Op,
    Population,
    Port,
    Relay,
    SumPool,
    Synapse,
)
from hmdf.sim.errors import ProgramError
from hmdf.sim.executor import Taps
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.reference import run
from lava_batch import run_in_lava
from programs import random_messages, random_program, recurrent_program

SEEDS = range(16)  # more of them: make soak
SAMPLES = 4
SEED_OF_A_LOOP = 10

Case = tuple[Program, np.ndarray]


def recurrent_case(seed: int) -> Case:
    """Several samples in a row: none may read the last message of the one before."""
    program = recurrent_program(seed, own=True)
    assert program.remembered
    return program, random_messages(program, SAMPLES, seed)


def random_case(seed: int) -> Case:
    program = random_program(seed)
    return program, random_messages(program, SAMPLES, seed)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Taps]:
    """What Lava computes for every case, by name."""
    return run_in_lava(CASES, tmp_path_factory.mktemp("lava"))


def assert_same(lava: Taps, wanted: Taps) -> None:
    assert lava.messages.keys() == wanted.messages.keys()
    for name, messages in wanted.messages.items():
        np.testing.assert_array_equal(lava.messages[name], messages, err_msg=name)
    np.testing.assert_array_equal(lava.logits, wanted.logits)


# --------------------------------------------------------------------------- programs


class Probes:
    """A program with many synapses on one input, each read in full by two relays.

    `high` sends rshift(acc, 8); `low` sends acc - 256 * high: together all 24 bits.
    """

    def __init__(self, message: Message, shape: tuple[int, ...]) -> None:
        self.input = Input(shape, message, "frames", Preprocessing(1.0, (0.0,), (1.0,)))
        self.nodes: list[Synapse | Population] = []

    def add(self, op: Op, source: str = INPUT) -> None:
        index = len(self.nodes) // 3
        synapse = Synapse(f"s{index}", source, op)
        shape = synapse.output_shape(self.input.shape)  # the source, if not the input, has the input's shape
        self.nodes.append(synapse)
        self.relay(f"high{index}", shape, Port(synapse.name, np.full((1, 1), 1), 8))
        exact, high = Port(synapse.name, np.full((1, 1), 1), 0), Port(f"high{index}", np.full((1, 1), -256), 0)
        self.relay(f"low{index}", shape, exact, high)

    def relay(self, name: str, shape: tuple[int, ...], *ports: Port) -> None:
        self.nodes.append(Population(name, shape, ports, np.zeros((1, 1), np.int32), Relay(), Message(16, True, 1.0)))

    def program(self, steps: int = 2) -> Program:
        last = self.nodes[-1]
        assert isinstance(last, Population)
        head = Synapse("head", last.name, Linear(np.ones((2, int(np.prod(last.shape))), np.int8), 2))
        bias = np.array([1 << 40, -(1 << 40)])
        return Program(steps, 32, 24, self.input, (*self.nodes, head), Readout("head", bias, 1.0))


def wide_weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """8-bit weights, two per output: with 16-bit messages the accumulator uses all 24 bits and no more."""
    weight = np.zeros((shape[0], int(np.prod(shape[1:]))), np.int8)
    for index, row in enumerate(weight):
        places = rng.choice(len(row), min(2, len(row)), replace=False)
        pair = (rng.integers(-128, 0), rng.integers(1, 128)) if index else (-128, 127)
        row[places] = pair[: len(places)]
    return weight.reshape(shape)


def extreme_messages(message: Message, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """(3, 2, *shape): at the limits, and uniform."""
    rng = np.random.default_rng(seed)
    low, high = message.range
    limits = rng.choice([low, high], (2, 2, *shape))
    return np.concatenate([limits, rng.integers(low, high + 1, (1, 2, *shape))])


def wide_probes() -> Case:
    """Signed 16-bit messages through 8-bit weights, in every geometry; sums over windows of 25 messages."""
    rng, message, shape = np.random.default_rng(7), Message(16, True, 1.0), (4, 9, 7)
    probes = Probes(message, shape)
    probes.add(Conv2d(wide_weights(rng, (5, 4, 3, 3)), 8, (1, 1), (1, 1)))
    probes.add(Conv2d(wide_weights(rng, (3, 4, 4, 2)), 8, (2, 3), (2, 0)))
    probes.add(Conv2d(wide_weights(rng, (3, 4, 3, 2)), 8, (1, 2), (0, 3), (2, 3)))
    probes.add(Conv2d(wide_weights(rng, (6, 2, 1, 3)), 8, (2, 1), (1, 0), (1, 1), groups=2))
    probes.add(Conv2d(wide_weights(rng, (8, 1, 2, 2)), 8, (1, 1), (0, 0), (1, 1), groups=4))
    probes.add(
        Conv2d(np.full((2, 1, 1, 1), -128, np.int8).repeat(4, 1) * np.eye(2, 4, dtype=np.int8)[..., None, None], 8)
    )
    probes.add(SumPool((5, 5), (2, 2), (2, 2)))
    probes.add(MaxPool((3, 2), (2, 1), (1, 1)))
    probes.add(Linear(wide_weights(rng, (5, 4 * 9 * 7)), 8))
    # Only negative weights, one of them -128: Lava would clip twice that at -255.
    probes.add(Linear(-128 * np.eye(3, 4 * 9 * 7, dtype=np.int8), 8))
    return probes.program(), extreme_messages(message, shape, 7)


def many_channel_probes() -> Case:
    """More groups and larger kernels than fit Lava's int8, so that a Sparse is used; and the channel convolution."""
    rng, message, shape = np.random.default_rng(8), Message(16, True, 1.0), (130, 1, 1)
    probes = Probes(message, shape)
    probes.add(SumPool((1, 1), (1, 1)))
    probes.add(Conv2d(rng.choice([-128, -1, 1, 127], (260, 1, 1, 1)).astype(np.int8), 8, groups=130))
    probes.add(Conv2d(wide_weights(rng, (2, 130, 1, 1)), 8, padding=(130, 0), stride=(130, 1)))
    probes.add(ChannelConv(np.array([0, 127, 0, -128, 0], np.int8), 8, 2))
    probes.add(ChannelConv(np.array([-1, 1, 1], np.int8), 1, 1))
    return probes.program(), extreme_messages(message, shape, 8)


def unequal_depths() -> Case:
    """Three paths of depth 1, 2 and 3, the input, and a gate of depth 4 meet in one neuron that keeps a state."""
    rng, shape, steps = np.random.default_rng(9), (3, 5, 4), 3
    probes = Probes(Message(6, True, 1.0), shape)
    for index, source in enumerate((INPUT, "high0", "high1")):
        weight = rng.integers(-1, 2, (3, 3, 3, 3)).astype(np.int8)
        probes.add(Conv2d(weight, 2, padding=(1, 1)), source=source)
        assert probes.nodes[-1].name == f"low{index}"
    pool = Synapse("pool", "high2", MaxPool(shape[1:], shape[1:]))
    probes.nodes.append(pool)
    one = np.ones((1, 1), np.int64)
    table = LookupTable(rng.integers(0, 256, 256), 0)
    probes.nodes.append(Population("sigmoid", (3, 1, 1), (Port("pool", one, 0),), 0 * one, table, Message(8, False, 1)))
    ports = [Port(source, rng.integers(-4000, 4000, (steps, 3)), 4) for source in (INPUT, "s0", "s1", "low2", "low1")]
    leak, threshold = rng.integers(-4096, 4096, (steps, 3)), rng.integers(-2000, 2000, (steps, 3))
    gate = Gate("sigmoid", 8, rng.integers(-500, 500, (steps, 3)))
    neuron = HybridFiring(leak, 12, threshold, 3)
    probes.nodes.append(
        Population("n", shape, tuple(ports), rng.integers(-9, 9, (steps, 3)), neuron, Message(8, False, 1.0), gate)
    )
    program = probes.program(steps)
    return program, random_messages(program, 4, 9)


def integrator() -> Case:
    """A neuron that never leaks: without a reset between samples the later ones would fire earlier."""
    one = np.ones((1, 1), np.int64)
    neuron = HybridFiring(4096 * one, 12, 100 * one, 0)
    nodes = Population("n", (3,), (Port(INPUT, one, 0),), 0 * one, neuron, Message(8, False, 1.0))
    head = Synapse("head", "n", Linear(np.ones((2, 3), np.int8), 2))
    image = Input((3,), Message(8, False, 1.0), "constant", Preprocessing(1.0, (0.0,), (1.0,)))
    program = Program(3, 24, 24, image, (nodes, head), Readout("head", np.zeros(2, np.int64), 1.0))
    return program, np.full((3, 1, 3), 40)


def loihi_neurons() -> Case:
    """Loihi's own neurons with Lava's numbers, three of them; then with one number each that Lava has not."""
    rng, shape, steps = np.random.default_rng(10), (2, 5, 4), 12

    def neurons(
        name: str, of: tuple[int, ...], sources: list[str], du: int, dv: int, vth: int, **own: Any
    ) -> Population:
        bias = rng.choice([-4096, -3, 0, 5, 4095], (1, of[0])) << rng.integers(0, 4, (1, of[0]))
        fields = {"current_leak": 4095 - du, "leak": 4096 - dv, "threshold": 64 * vth + 1, "reset": 0}
        arrays = {name: np.full((1, 1), value) for name, value in fields.items()} | {"membrane_bias": bias}
        dynamics = CurrentBasedLeakyIntegrateAndFire(**(arrays | own))
        ports = tuple(Port(source, np.full((1, 1), 256), 2) for source in sources)
        return Population(name, of, ports, np.zeros((1, 1), np.int64), dynamics, Message(1, False, 1.0))

    kernel, matrix = rng.integers(-30, 60, (3, 2, 3, 3)), rng.integers(-30, 60, (5, 60))
    nodes = (
        Synapse("conv", INPUT, Conv2d(kernel.astype(np.int8), 8, padding=(1, 1))),
        neurons("first", (3, 5, 4), ["conv"], du=0, dv=4095, vth=300),
        neurons("reads", (3, 5, 4), ["first"], du=4095, dv=0, vth=2),
        neurons("twice", (3, 5, 4), ["first", "first"], du=4095, dv=0, vth=2),
        Synapse("matrix", "reads", Linear(matrix.astype(np.int8), 8)),
        neurons("second", (5,), ["matrix"], du=1500, dv=700, vth=200),
        neurons("mixed", (3, 5, 4), ["conv", "first"], du=1500, dv=700, vth=100),
        neurons("reset", (5,), ["matrix"], du=1500, dv=700, vth=200, reset=np.full((1, 1), -900)),
        neurons("channels", (5,), ["matrix"], du=1500, dv=700, vth=200, leak=np.array([[0, 4096, 9, 2048, 3]])),
        neurons("steps", (5,), ["matrix"], du=1500, dv=700, vth=200, membrane_bias=rng.integers(0, 99, (steps, 1))),
        neurons("odd", (5,), ["matrix"], du=1500, dv=700, vth=200, membrane_bias=np.full((1, 1), 4097)),
        neurons("at", (5,), ["matrix"], du=1500, dv=700, vth=200, threshold=np.full((1, 1), 12800)),
        neurons("clamps", (3, 5, 4), ["conv"], du=0, dv=0, vth=131071),
        Synapse("head", "second", Linear(np.ones((2, 5), np.int8), 2)),
    )
    given = Input(shape, Message(4, True, 1.0), "frames", Preprocessing(1.0, (0.0,), (1.0,)))
    program = Program(steps, 24, 24, given, nodes, Readout("head", np.zeros(2, np.int64), 1.0))
    return program, random_messages(program, 6, 10)


CASES: dict[str, Case] = {f"random-{seed}": random_case(seed) for seed in SEEDS} | {
    **{f"recurrent-{seed}": recurrent_case(seed) for seed in (0, 2, 4)},
    "wide": wide_probes(),
    "many-channels": many_channel_probes(),
    "unequal-depths": unequal_depths(),
    "integrator": integrator(),
    "loihi": loihi_neurons(),
    "no-samples": (random_program(0), random_messages(random_program(0), 0, 0)),
}

# ------------------------------------------------------------------------------ tests


@pytest.mark.parametrize("name", [name for name in CASES if name != "no-samples"])
def test_lava_computes_what_the_reference_computes(results: dict[str, Taps], name: str) -> None:
    assert_same(results[name], run(*CASES[name]))


def test_the_cases_cover_the_contract() -> None:
    programs = [program for program, _ in CASES.values()]
    populations = [node for program in programs for node in program.populations]
    assert {type(node.dynamics) for node in populations} == set(get_args(Dynamics))
    assert {type(n.op) for p in programs for n in p.synapses} == {Conv2d, Linear, ChannelConv, SumPool, MaxPool}
    stepwise = {what.split()[0] for node in populations for what, array, _ in node.parameters() if len(array) > 1}
    assert {"bias", "multiplier", "threshold", "leak", "soma_leak", "dendrite_leak"} <= stepwise
    assert {state for node in populations for state in node.initial()} == {"d", "u", "v"}
    wired = [entry for program in programs for entry in wire(program).processes]
    assert {"conv", "dense", "sparse", "max_pool", "delay"} <= {entry["kind"] for entry in wired}
    assert {1, 2, 3, 4} <= {entry["steps"] for entry in wired if entry["kind"] == "delay"}
    clamps = [count for name in CASES if name != "no-samples" for count in run(*CASES[name]).saturations.values()]
    assert (np.sum(clamps, axis=0) > 0).all()


def test_accumulators_use_all_24_bits() -> None:
    messages = run(*CASES["wide"]).messages
    high = [messages[name] for name in messages if name.startswith("high")]
    assert max(m.max() for m in high) > 0.98 * (1 << 15)
    assert min(m.min() for m in high) < -0.98 * (1 << 15)


def test_lavas_own_conv_gives_the_same() -> None:
    assert_same(Lava(time_limit=60, lava_conv=True).run(*CASES["wide"]), run(*CASES["wide"]))


def test_loihis_own_neuron_is_lavas_lif_where_lava_has_its_numbers(results: dict[str, Taps], tmp_path: Path) -> None:
    """And they fire, and do not: what `results` compared says something."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); from hmdf_lava.compat import import_lava; import_lava(); "
    script += "from pathlib import Path; from hmdf_lava.network import Network; from lava.proc.lif.process import LIF; "
    script += "network = Network(Path(sys.argv[1]), Path('m'), Path('l'), {}); "
    script += "print(*[name for name, process in network.processes.items() if isinstance(process, LIF)])"
    bundle = export_bundle(CASES["loihi"][0], tmp_path / "bundle")
    done = subprocess.run([sys.executable, "-c", script, str(bundle)], capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == ["first.lif", "reads.lif", "second.lif"], done.stderr[-2000:]
    messages = results["loihi"].messages
    assert all(0.02 < messages[name].mean() < 0.98 for name in ("first", "reads", "second", "reset"))


def test_a_loop_of_several_connections_is_refused() -> None:
    with pytest.raises(ProgramError, match="only a population that reads its own last message"):
        wire(recurrent_program(SEED_OF_A_LOOP))


def test_samples_do_not_touch_each_other(results: dict[str, Taps]) -> None:
    taps = results["integrator"]
    assert taps.messages["n"][:, :, 0].tolist() == [[0, 0, 20]] * 3
    assert taps.logits.tolist() == [[60, 60]] * 3


def test_no_samples(results: dict[str, Taps]) -> None:
    program, taps = random_program(0), results["no-samples"]
    assert taps.logits.shape == (0, program.classes)
    wanted = {p.name: (0, program.time_steps, *p.shape) for p in program.populations}
    assert {name: messages.shape for name, messages in taps.messages.items()} == wanted
