"""The simulator gives the reference's integers, on every program, with any number of threads, in constant memory."""

import os
import shutil
import subprocess
import sys
import tracemalloc
from collections import Counter
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from edge_programs import EDGES
from hmdf.sim import reference
from hmdf.sim.contract import INPUT, Conv2d, Dynamics, HybridFiring, Linear, Message, Population, Port, Relay, Synapse
from hmdf.sim.errors import InputError
from hmdf.sim.executor import Taps
from hmdf.sim.kernels import compiling, neurons, paths
from hmdf.sim.kernels.paths import ENVIRONMENT, PATHS, Amx, Avx2, available_paths, choose_path, name_of
from hmdf.sim.kernels.paths.path import BYTE_PAIRS, QUADS, QUADS_IN_TILES, QUADS_OF_RUN, QUADS_WIDENED
from hmdf.sim.kernels.plan import build_plan
from hmdf.sim.kernels.workspace import Workspace
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.ranges import prove, unproven
from hmdf.sim.simulator import Simulator, simulate
from programs import random_messages, random_program

SEEDS = range(120)  # more of them: make soak


def features(program: Program) -> set[str]:
    """Names of all parts of the contract that a program uses."""
    found = {type(s.op).__name__ for s in program.synapses} | {type(p.dynamics).__name__ for p in program.populations}
    found |= {f"T{program.time_steps}", program.input.timing, f"state {program.state_bits}"}
    found |= {"gate" for p in program.populations if p.gate}
    found |= {"several ports" for p in program.populations if len(p.ports) > 1}
    read = {port.source for p in program.populations for port in p.ports}
    found |= {"port on a population" for p in program.populations if p.name in read}
    found |= {"port on the input"} if INPUT in read else set()
    found |= {"signed message" for p in program.populations if p.message.signed}
    found |= {"16-bit message" for p in program.populations if p.message.bits > 8}
    found |= {f"initial {state}" for p in program.populations for state in p.initial()}
    found |= {"steps differ" for p in program.populations for _, array, _ in p.parameters() if len(array) > 1}
    for op in (s.op for s in program.synapses if isinstance(s.op, Conv2d)):
        found |= {"groups"} if op.groups > 1 else set()
        found |= {f for f in ("stride", "dilation") if getattr(op, f) != (1, 1)}
        found |= {"padding"} if any(op.padding) else set()
    return found


def assert_same(expected: reference.Taps, got: reference.Taps) -> None:
    for name, messages in expected.messages.items():
        assert np.array_equal(messages, got.messages[name]), name
        assert np.array_equal(expected.saturations[name], got.saturations[name]), name
    assert np.array_equal(expected.logits, got.logits)


@pytest.fixture(params=available_paths())
def path(request, monkeypatch):
    """Every way in which this processor can run the kernels."""
    monkeypatch.setenv(ENVIRONMENT, request.param)
    return request.param


def test_a_path_can_be_forced(path):
    assert name_of(Simulator().path) == path


def test_a_path_that_the_processor_has_not_got(monkeypatch):
    monkeypatch.setattr(paths, "available_paths", lambda: ["portable"])
    for wanted in [name for name in PATHS if name != "portable"]:
        monkeypatch.setenv(ENVIRONMENT, wanted)
        with pytest.raises(InputError, match=f"{ENVIRONMENT}={wanted}: this processor has portable"):
            choose_path()
    monkeypatch.setenv(ENVIRONMENT, "fast")
    with pytest.raises(InputError, match="the paths are amx, vnni512, avxvnni, avx2, neoni8mm, neondot, portable"):
        choose_path()


@pytest.mark.skipif("avx2" not in available_paths(), reason="no AVX2")
def test_a_forced_path_compiles_for_its_processor():
    """Numba takes the processor's features once, with the first function: paths must be known before there is one."""
    code = "from hmdf.sim.kernels import engine; print(engine.run.targetctx.codegen()._tm_features)"
    environment = os.environ | {ENVIRONMENT: "avx2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""  # of haswell, and nothing more


def full_sums(weight: int, bits: int, inputs: int) -> Program:
    """A 1x1 convolution, all weights equal, whose sums reach as far as they can."""
    one, zero = np.ones((1, 1), dtype=np.int32), np.zeros((1, 1), dtype=np.int32)
    return Program(
        time_steps=1,
        state_bits=32,
        accumulator_bits=32,
        input=Input((inputs, 3, 3), Message(bits, False, 1.0), "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Synapse("conv", INPUT, Conv2d(np.full((5, inputs, 1, 1), weight, np.int8), 8)),
            Population("sums", (5, 3, 3), (Port("conv", one, 0),), zero, Relay(), Message(16, True, 1.0)),
            Synapse("head", "sums", Linear(np.ones((2, 45), np.int8), 2)),
        ),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )


@cache  # for every path
def run_full_sums(weight: int, bits: int, inputs: int) -> tuple[Program, np.ndarray, Taps]:
    program = full_sums(weight, bits, inputs)
    full = np.full((2, 1, inputs, 3, 3), (1 << bits) - 1)
    full[1] -= np.random.default_rng(0).integers(0, 2, full[1].shape)
    return program, full, reference.run(program, full)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("weight", "bits", "inputs", "kind"),
    [
        (1, 4, 4368, QUADS),  # 2184 inputs of a 16-bit lane: 32,760
        (1, 4, 4372, QUADS_WIDENED),  # one run
        (64, 8, 4, QUADS),  # 2 * 64 * 255 = 32,640
        (64, 8, 8, QUADS_WIDENED),
        (65, 8, 4, BYTE_PAIRS),
    ],
)
def test_sums_at_the_limits_of_16_bits(path, weight, bits, inputs, kind, sign):
    """AVX2 sums in 16 bits exactly as far as that is exact."""
    program, full, expected = run_full_sums(sign * weight, bits, inputs)
    simulator = Simulator(1)
    assert_same(expected, simulator.run(program, full))
    if isinstance(simulator.path, Avx2):
        assert build_plan(program, simulator.path).tables.ports["dot"][0] == kind


@pytest.mark.parametrize(
    ("path", "bits", "kind"), [("neondot", 7, QUADS), ("neondot", 8, BYTE_PAIRS), ("neoni8mm", 8, QUADS)]
)
def test_signed_products_of_arm_take_messages_of_seven_bits(path, bits, kind):
    assert build_plan(full_sums(1, bits, 8), PATHS[path]).tables.ports["dot"][0] == kind


def test_kept_machine_code_is_told_apart_by_every_file(tmp_path, monkeypatch):
    """An edit in a sub-folder too must not run what was compiled before it."""
    folder = Path(compiling.__file__).parent
    copy = shutil.copytree(folder, tmp_path / "kernels")
    monkeypatch.setattr(compiling, "__file__", str(copy / "compiling.py"))
    digests = [compiling.digest_of_sources()]
    for file in sorted(copy.rglob("*.py")):
        file.write_text(file.read_text() + "#")
        digests.append(compiling.digest_of_sources())
    assert (copy / "neurons" / "relay.py").exists()
    assert len(set(digests)) == len(digests)


def test_every_kind_of_neuron_has_its_kernels():
    assert set(neurons.NUMBERS) == set(get_args(Dynamics))


def test_random_programs_bit_for_bit(path):
    simulator, seen = Simulator(threads=1), Counter()
    for seed in SEEDS:
        program = random_program(seed)
        messages = random_messages(program, 3, seed)
        assert_same(reference.run(program, messages), simulator.run(program, messages))
        seen.update(features(program))
    wanted = {
        *("Conv2d", "Linear", "ChannelConv", "SumPool", "MaxPool", "Relay", "HybridFiring", "ParallelFiring"),
        *("LeakyIntegrateAndFire", "MultiHierarchical", "LookupTable", "gate", "several ports", "constant", "frames"),
        *("initial d", "initial v"),
        *("port on a population", "port on the input", "signed message", "16-bit message", "steps differ"),
        *("groups", "stride", "dilation", "padding", "state 12", "state 16", "state 24", "state 32"),
        *(f"T{t}" for t in range(1, 7)),
    }
    assert not wanted - set(seen), seen


def test_edges_bit_for_bit(path):
    for name, build in EDGES.items():
        if not name.startswith(("2^20", "4096")):  # those too: make bounds
            program = build()
            assert not unproven(program, prove(program)), name
            messages = random_messages(program, 4, 0)
            assert_same(reference.run(program, messages), Simulator(threads=1).run(program, messages))


def test_the_edges_reach_63_bits_and_a_million_neurons():
    ranges = prove(EDGES["63-bit registers"]())
    assert max(found.widest.bits for found in ranges.populations.values()) == 63
    for build in [build for name, build in EDGES.items() if name.startswith("2^20")]:
        assert max(np.prod(p.shape) for p in build().populations) == 1 << 20


def test_sums_of_a_run_at_the_limit_of_16_bits(path):
    """A patch of three runs, each of which just fits."""
    weight = np.full((5, 728, 3, 3), -1, np.int8)  # 728 * 3 / 2 * 30 = 32,760
    one, zero = np.ones((1, 1), dtype=np.int32), np.zeros((1, 1), dtype=np.int32)
    program = Program(
        time_steps=1,
        state_bits=32,
        accumulator_bits=32,
        input=Input((728, 5, 4), Message(4, False, 1.0), "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Synapse("conv", INPUT, Conv2d(weight, 8)),
            Population("sums", (5, 3, 2), (Port("conv", one, 4),), zero, Relay(), Message(16, True, 1.0)),
            Synapse("head", "sums", Linear(np.ones((2, 30), np.int8), 2)),
        ),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )
    full = np.full((2, 1, 728, 5, 4), 15)
    full[1] -= np.random.default_rng(0).integers(0, 2, full[1].shape)
    simulator = Simulator(1)
    assert_same(reference.run(program, full), simulator.run(program, full))
    if isinstance(simulator.path, Avx2):
        assert build_plan(program, simulator.path).tables.ports["dot"][0] == QUADS_OF_RUN


def conv_program(channels: int = 8, size: int = 16, steps: int = 3) -> Program:
    """One convolution and a head: enough for tests of batches."""
    rng = np.random.default_rng(7)
    one, zero = np.ones((1, 1), dtype=np.int32), np.zeros((1, 1), dtype=np.int32)
    weight = rng.integers(-1, 2, (channels, 2, 3, 3)).astype(np.int8)
    fire = HybridFiring(np.full((1, 1), 2048), 12, np.full((1, 1), 300), 5)
    return Program(
        time_steps=steps,
        state_bits=24,
        accumulator_bits=24,
        input=Input((2, size, size), Message(8, True, 1.0), "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Synapse("conv", INPUT, Conv2d(weight, 2, padding=(1, 1))),
            Population("spikes", (channels, size, size), (Port("conv", 3 * one, 0),), zero, fire, Message(4, False, 1)),
            Synapse("head", "spikes", Linear(rng.integers(-8, 8, (5, channels * size * size)).astype(np.int8), 4)),
        ),
        readout=Readout("head", np.arange(5), 1.0),
    )


def test_large_values_need_64_bits(path):
    """Accumulators beyond 32 bits: a linear layer over 16-bit messages with 8-bit weights."""
    one, zero = np.ones((1, 1), dtype=np.int32), np.zeros((1, 1), dtype=np.int32)
    fire = HybridFiring(32767 * one, 3, 2**31 * one.astype(np.int64) - 1, 0)
    program = Program(
        time_steps=3,
        state_bits=32,
        accumulator_bits=32,
        input=Input((2000, 8, 1), Message(16, False, 1.0), "frames", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Synapse("wide", INPUT, Linear(np.full((3, 16000), 127, np.int8), 8)),
            Population("spikes", (3,), (Port("wide", 32767 * one, 47),), zero, fire, Message(16, False, 1.0)),
            Population("all", (3,), (Port("wide", -32768 * one, 0),), zero, fire, Message(1, False, 1.0)),
            Synapse("head", "spikes", Linear(np.ones((2, 3), np.int8), 2)),
        ),
        readout=Readout("head", np.array([-(1 << 47), (1 << 47) - 1]), 1.0),
    )
    messages = np.full((2, 3, 2000, 8, 1), 65535)
    messages[1] = np.random.default_rng(0).integers(0, 65536, messages[1].shape)
    assert_same(reference.run(program, messages), Simulator(1).run(program, messages))


def wide_network(kernel: int, stride: int, dilation: int) -> Program:
    """Convolutions with patches long enough to be done event by event, on both kinds of messages."""
    rng = np.random.default_rng(kernel)
    one, zero = np.ones((1, 1), dtype=np.int32), np.zeros((1, 1), dtype=np.int32)
    fire = HybridFiring(np.full((1, 1), -1500), 12, rng.integers(100, 900, (3, 1)), 4)
    weight = rng.integers(-1, 2, (70, 40, kernel, kernel)).astype(np.int8)
    first = Synapse("first", INPUT, Conv2d(weight, 2, (stride, stride), (1, 1), (dilation, dilation)))
    shape = first.output_shape((40, 9, 11))
    features = int(np.prod(shape))
    return Program(
        time_steps=3,
        state_bits=24,
        accumulator_bits=24,
        input=Input((40, 9, 11), Message(8, False, 1.0), "frames", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            first,
            Population("a", shape, (Port("first", 20 * one, 3),), zero, fire, Message(4, False, 1)),
            Synapse("second", "a", Conv2d(rng.integers(-8, 8, (33, 70, 3, 3)).astype(np.int8), 4, padding=(1, 1))),
            Population("b", (33, *shape[1:]), (Port("second", 9 * one, 2),), zero, fire, Message(5, False, 1)),
            Synapse("head", "a", Linear(rng.integers(-1, 2, (10, features)).astype(np.int8), 2)),
        ),
        readout=Readout("head", np.zeros(10, np.int64), 1.0),
    )


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (3, 1, 2), (4, 1, 1)])
def test_event_by_event_gives_the_same(path, kernel, stride, dilation):
    """Samples from silent to dense: some go through the lists of events, some do not."""
    program = wide_network(kernel, stride, dilation)
    rng = np.random.default_rng(5)
    shape = (8, 3, 40, 9, 11)
    densities = np.array([0, 0.002, 0.01, 0.03, 0.06, 0.2, 0.6, 1.0]).reshape(-1, 1, 1, 1, 1)
    messages = rng.integers(1, 256, shape) * (rng.random(shape) < densities)
    simulator = Simulator(1)
    assert_same(reference.run(program, messages), simulator.run(program, messages))
    workspace = Workspace(program, build_plan(program, simulator.path), simulator.path, len(messages))
    workspace.run(messages)
    by_events = workspace.by_events[1]
    assert 3 <= by_events < 8


@pytest.mark.parametrize(("share", "by_events"), [(-1, 0), (1, 8)])
def test_one_way_can_be_forced(path, share, by_events):
    program = wide_network(3, 1, 1)
    rng = np.random.default_rng(7)
    messages = rng.integers(0, 256, (8, 3, 40, 9, 11)) * rng.integers(0, 2, (8, 1, 1, 1, 1))
    simulator = Simulator(1, event_share=share)
    assert_same(reference.run(program, messages), simulator.run(program, messages))
    workspace = Workspace(program, build_plan(program, simulator.path), simulator.path, len(messages), share)
    workspace.run(messages)
    assert workspace.by_events[1] == by_events


def test_threads_and_blocks_give_the_same():
    program = conv_program()
    messages = random_messages(program, 150, 0)
    alone = simulate(program, messages, threads=1, taps=True)
    for threads in (2, 5):
        other = simulate(program, messages, threads=threads, taps=True)
        assert_same(alone.taps, other.taps)
        assert np.array_equal(alone.counters.sops_per_sample(), other.counters.sops_per_sample())
    parts = simulate(program, (messages[a : a + 7] for a in range(0, 150, 7)), threads=2)
    assert np.array_equal(parts.logits, alone.logits)
    assert np.array_equal(parts.predictions, np.argmax(alone.logits, axis=1))


def test_one_simulator_runs_several_programs():
    simulator = Simulator(1)
    for channels in (3, 4, 3):
        program = conv_program(channels)
        messages = random_messages(program, 4, channels)
        assert_same(reference.run(program, messages), simulator.run(program, messages))


def test_memory_that_is_used_again_holds_nothing_of_earlier_samples():
    program, simulator = conv_program(), Simulator(2)
    for samples in (6, 1, 9, 2):
        messages = random_messages(program, samples, samples)
        assert_same(reference.run(program, messages), simulator.run(program, messages))
        kept, fresh = (s.simulate(program, messages).counters for s in (simulator, Simulator(2)))
        assert np.array_equal(kept.sops_per_sample(), fresh.sops_per_sample())


def test_memory_does_not_grow_with_the_samples():
    program = conv_program(channels=32, size=32)

    def peak(samples: int) -> int:
        blocks = (random_messages(program, 50, i) for i in range(samples // 50))
        tracemalloc.start()
        simulate(program, blocks, threads=1)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    simulate(program, random_messages(program, 2, 0))
    assert peak(500) <= 1.05 * peak(100)


def test_floats_labels_and_progress():
    program = conv_program()
    x = np.random.default_rng(3).normal(0, 40, (40, 2, 16, 16))
    done = []
    labels = np.zeros(40, dtype=np.int64)
    result = simulate(program, x, labels=labels, threads=2, progress=done.append)
    assert sum(done) == 40
    assert result.accuracy == np.mean(result.predictions == 0)
    expected = reference.run(program, np.clip(np.rint(x), -128, 127).astype(np.int64)[:, None])
    assert np.array_equal(result.logits, expected.logits)
    assert result.seconds > 0
    assert result.taps is None


def test_no_samples():
    result = simulate(conv_program(), np.zeros((0, 2, 16, 16)), taps=True)
    assert result.logits.shape == (0, 5)
    assert result.taps.messages["spikes"].shape == (0, 3, 8, 16, 16)
    assert result.counters.populations["spikes"].density() == 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, 5, 2]), "label 5 of sample 2 is not a class: they are 0..4"),
        (np.array([0, -1, 4, 2]), "label -1 of sample 1"),
        (np.array([0, 1, 2]), "3 labels for 4 samples"),
        (np.array([0.0, 1.0, 2.0, 3.0]), "one integer per sample"),
        (np.zeros((4, 1), dtype=int), "one integer per sample"),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    with pytest.raises(InputError, match=message):
        simulate(conv_program(), np.zeros((4, 2, 16, 16)), labels=labels)


def test_an_error_in_a_thread_reaches_the_caller():
    x = np.zeros((400, 2, 16, 16))
    x[333, 1, 2, 3] = np.nan
    with pytest.raises(InputError, match="channel 1"):
        simulate(conv_program(), x, threads=2)


@pytest.mark.parametrize(("bits", "weight", "quads"), [(4, 1, 1092), (4, 1, 1093), (8, 64, 1), (8, 65, 2), (7, 127, 3)])
def test_sums_of_either_sign_at_the_limit_of_16_bits(path, bits, weight, quads):
    """Every message at its largest, every weight at an end: where a 16-bit sum just fits, or just does not."""
    features = 4 * quads
    weights = np.full((4, features), weight, np.int8)
    weights[1], weights[2, ::2], weights[3, : features // 2] = -weight, -weight, -weight
    one, zero = np.ones((1, 1), np.int16), np.zeros((1, 1), np.int32)
    program = Program(
        time_steps=1,
        state_bits=32,
        accumulator_bits=24,
        input=Input((features,), Message(bits, False, 1.0), "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Synapse("sum", INPUT, Linear(weights, 8)),
            Population("sent", (4,), (Port("sum", one, 6),), zero, Relay(), Message(16, True, 1.0)),
            Synapse("head", "sent", Linear(np.eye(4, dtype=np.int8), 2)),
        ),
        readout=Readout("head", np.zeros(4, np.int64), 1.0),
    )
    messages = np.full((1, 1, features), 2**bits - 1, np.int32)
    for share in (-1.0, 1.0):
        assert_same(reference.run(program, messages), Simulator(event_share=share).run(program, messages))


@pytest.mark.parametrize(
    ("width", "channels", "outputs", "stride", "rows"),
    [
        (16, 40, 40, 1, 16),
        (14, 16, 16, 1, 14),
        (16, 32, 33, 2, 8),
        (7, 64, 32, 1, 7),
        (8, 20, 70, 2, 4),
        (48, 8, 5, 1, 16),
    ],
)
def test_matrix_tiles_of_all_shapes(path, width, channels, outputs, stride, rows):
    """Stretches of any length, patches that end within a tile, few and many channels; weights at their limits."""
    rng = np.random.default_rng(width)
    one, zero = np.ones((1, 1), dtype=np.int32), np.zeros((1, 1), dtype=np.int32)
    weight = rng.choice(np.array([-128, -1, 0, 1, 127], np.int8), (outputs, channels, 3, 3))
    conv = Synapse("conv", INPUT, Conv2d(weight, 8, (stride, stride), (1, 1)))
    shape = conv.output_shape((channels, 6, width))
    program = Program(
        time_steps=1,
        state_bits=32,
        accumulator_bits=32,
        input=Input((channels, 6, width), Message(8, False, 1.0), "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            conv,
            Population("sums", shape, (Port("conv", one, 8),), zero, Relay(), Message(16, True, 1.0)),
            Synapse("head", "sums", Linear(np.ones((2, int(np.prod(shape))), np.int8), 2)),
        ),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )
    messages = rng.choice(np.array([0, 1, 255]), (3, 1, channels, 6, width))
    simulator = Simulator(1, event_share=-1)
    assert_same(reference.run(program, messages), simulator.run(program, messages))
    if isinstance(simulator.path, Amx):
        tables = build_plan(program, simulator.path).tables
        assert tables.ports["dot"][0] == QUADS_IN_TILES
        assert tables.populations["tile_rows"][1] == rows


@pytest.mark.parametrize(
    ("size", "channels", "reach", "bits", "fits"),
    [
        ((6, 10), 32, 1, 4, True),
        ((10, 4), 64, 14, 6, True),
        ((6, 10), 32, 15, 6, False),
        ((6, 10), 32, 14, 7, False),
        ((6, 9), 32, 1, 4, False),
    ],
)
def test_3x3_convolutions_at_points(path, size, channels, reach, bits, fits):
    """Tiles and groups of steps that are not full, blocks of channels, ports beside; everything at its limits."""
    rng = np.random.default_rng(reach)
    one, zero = np.ones((1, 1), dtype=np.int32), np.zeros((1, 1), dtype=np.int32)
    weight = rng.choice(np.array([-reach, 0, reach], np.int8), (70, channels, 3, 3))
    weight[0], weight[1] = reach, -reach
    shape, residual = (70, *size), Message(16, True, 1.0)
    kernels = (Conv2d(rng.integers(-1, 2, (70, channels, 1, 1)).astype(np.int8), 2), Conv2d(weight, 8, padding=(1, 1)))
    program = Program(
        time_steps=5,
        state_bits=32,
        accumulator_bits=32,
        input=Input((channels, *size), Message(bits, False, 1.0), "frames", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            *(Synapse(f"conv{i}", INPUT, op) for i, op in enumerate(kernels)),
            Population("first", shape, (Port("conv0", one, 1),), zero, Relay(), residual),
            Population("both", shape, (Port("first", one, 0), Port("conv1", one, 7)), zero, Relay(), residual),
            Synapse("head", "both", Linear(rng.integers(-1, 2, (2, int(np.prod(shape)))).astype(np.int8), 2)),
        ),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )
    top = 2**bits - 1
    messages = rng.choice(np.array([0, 1, top]), (3, 5, channels, *size))
    messages[0] = top
    for share in (-1, None):
        simulator = Simulator(1, event_share=share)
        assert_same(reference.run(program, messages), simulator.run(program, messages))
    at_points = build_plan(program, simulator.path).tables.ports["point_channels"].any()
    assert at_points == (fits and (size[1] <= 8 or not isinstance(simulator.path, Amx)))


@pytest.mark.parametrize(
    ("size", "channels", "smallest", "bits", "stride", "planes"),
    [
        ((7, 11), 16, 1, 4, 2, 1),
        ((7, 11), 32, 0, 3, 2, 2),
        ((12, 6), 32, 1, 4, 1, 1),
        ((7, 5), 240, 0, 4, 1, 2),  # 240 * 9 * 15 = 32,400
        ((5, 3), 256, 0, 4, 1, 0),
        ((5, 3), 480, 1, 4, 1, 1),  # 480 * 9 * 15 = 64,800
        ((5, 3), 496, 1, 4, 1, 0),
        ((7, 11), 16, 1, 5, 2, 0),
        ((7, 11), 24, 1, 4, 2, 2),  # 32 with padding, of weight 0
    ],
)
def test_convolutions_by_look_ups(path, size, channels, smallest, bits, stride, planes):
    """Tiles that are not full, two blocks of channels; every sum at its limits; with AVX2's tables where they are."""
    rng, one = np.random.default_rng(channels), np.ones((1, 1), dtype=np.int32)
    weight = rng.choice(np.array([-1, 1] if smallest else [-1, 0, 1], np.int8), (64, channels, 3, 3))
    weight[3], weight[4] = 1, -1
    op = Conv2d(weight, 2, (stride, stride), (1, 1))
    source = Message(bits, False, 1.0)
    shape, outputs = (channels, *size), (64, *(-(-length // stride) for length in size))
    program = Program(
        time_steps=3,
        state_bits=32,
        accumulator_bits=32,
        input=Input(shape, source, "frames", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Population("spikes", shape, (Port(INPUT, one, 0),), 0 * one, Relay(), source),
            Synapse("conv", "spikes", op),
            Population("sums", outputs, (Port("conv", one, 2),), 0 * one, Relay(), Message(16, True, 1.0)),
            Synapse("head", "sums", Linear(rng.integers(-1, 2, (2, int(np.prod(outputs)))).astype(np.int8), 2)),
        ),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )
    messages = rng.integers(0, 2**bits, (2, 3, *shape))
    messages[0] = 2**bits - 1
    simulator = Simulator(1, event_share=-1)
    assert_same(reference.run(program, messages), simulator.run(program, messages))
    if isinstance(simulator.path, Avx2):
        assert build_plan(program, simulator.path).tables.ports["look_planes"].max() == planes
