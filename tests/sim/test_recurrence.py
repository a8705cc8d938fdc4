"""Synapses that read the step before: by hand, in the proof, stored, refused, and random ones in the simulator."""

import msgspec
import numpy as np
import pytest

from hmdf.sim import reference, storage
from hmdf.sim.contract import (
    INPUT,
    HardResetIntegrateAndFire,
    Linear,
    Message,
    Population,
    Port,
    Relay,
    Synapse,
)
from hmdf.sim.contract.intervals import Interval
from hmdf.sim.counters import count
from hmdf.sim.errors import ProgramError
from hmdf.sim.listing import listing
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.ranges import prove
from hmdf.sim.simulator import Simulator
from hmdf.sim.steps import with_steps
from programs import random_messages, recurrent_program

ONE, ZERO = np.ones((1, 1), np.int32), np.zeros((1, 1), np.int32)


def linear(*rows: list[int]) -> Linear:
    return Linear(np.array(rows, np.int8), 8)


def relay(name: str, *sources: str, shape: int = 2) -> Population:
    ports = tuple(Port(source, ONE, 0) for source in sources)
    return Population(name, (shape,), ports, ZERO, Relay(), Message(16, True, 1.0))


def program_of(*nodes, readout: str = "head", steps: int = 4) -> Program:
    return Program(
        time_steps=steps,
        state_bits=24,
        accumulator_bits=24,
        input=Input((2,), Message(4, True, 1.0), "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=nodes,
        readout=Readout(readout, np.zeros(2, np.int64), 1.0),
    )


BACK = Synapse("back", "a", linear([0, 2], [1, 0]), delay=1)
HEAD = Synapse("head", "a", linear([1, 0], [0, 1]))
OWN = program_of(BACK, relay("a", INPUT, "back"), HEAD)
LOOP = program_of(
    Synapse("back", "b", linear([1, 1], [0, -1]), delay=1),
    relay("a", INPUT, "back"),
    Synapse("on", "a", linear([2, 0], [0, 1])),
    relay("b", "on"),
    HEAD,
)


def both(program: Program, *samples: list[int]):
    """The messages of the reference and of the simulator, which are equal, and the reference's run."""
    messages = np.array(samples)[:, None]
    wanted, found = reference.run(program, messages), Simulator(threads=1).run(program, messages)
    for name, sent in wanted.messages.items():
        assert np.array_equal(sent, found.messages[name]), name
    assert np.array_equal(wanted.logits, found.logits)
    return wanted


def test_a_population_reads_itself():
    """a = (1, 2) + (2 a1, a0) of the step before: (1, 2); (1 + 4, 2 + 1); (1 + 6, 2 + 5); (1 + 14, 2 + 7)."""
    taps = both(OWN, [1, 2], [0, 0], [-1, 0])
    assert taps.messages["a"][0].tolist() == [[1, 2], [5, 3], [7, 7], [15, 9]]
    assert taps.messages["a"][2].tolist() == [[-1, 0], [-1, -1], [-3, -1], [-3, -3]]
    assert taps.logits[0].tolist() == [28, 21]


def test_a_later_population_is_read_at_the_step_before():
    """b = (2 a0, a1), a = (1, 2) + (b0 + b1, -b1): a (1, 2), b (2, 2); a (5, 0), b (10, 0); a (11, 2), b (22, 2)."""
    taps = both(LOOP, [1, 2])
    assert taps.messages["a"][0].tolist() == [[1, 2], [5, 0], [11, 2], [25, 0]]
    assert taps.messages["b"][0].tolist() == [[2, 2], [10, 0], [22, 2], [50, 0]]


def test_an_earlier_population_and_one_that_never_changes():
    """Nothing at the first step, also of a population that always sends the same; the read-out may be late too."""
    late = Synapse("late", "a", linear([1, 0], [0, 1]), delay=1)
    program = program_of(relay("a", INPUT), late, relay("b", "late"), Synapse("head", "b", linear([3, 0], [0, 1]), 1))
    taps = both(program, [1, 2])
    assert taps.messages["b"][0].tolist() == [[0, 0], [1, 2], [1, 2], [1, 2]]
    assert taps.logits[0].tolist() == [6, 4]


def test_the_proof_covers_the_step_before():
    late = Synapse("late", "a", linear([1, 0], [0, 3]), delay=1)
    nodes = relay("a", INPUT), late, relay("b", "late"), Synapse("head", "b", linear([1, 0], [0, 1]))
    assert prove(program_of(*nodes)).synapses["late"] == Interval(-24, 21)
    assert prove(program_of(*nodes, steps=1)).synapses["late"] == Interval(0, 0)
    fire = HardResetIntegrateAndFire(np.array([[4096]], np.int32), 12, 5 * ONE, ZERO)
    spiking = msgspec.structs.replace(relay("a", INPUT, "back"), dynamics=fire, message=Message(1, False, 1.0))
    assert prove(program_of(BACK, spiking, HEAD)).synapses["back"] == Interval(0, 2)
    assert prove(OWN).synapses["back"] == Interval(-(2**16), 2**16 - 2)


@pytest.mark.parametrize("program", [OWN, LOOP], ids=["own", "loop"])
def test_it_is_stored(program, tmp_path):
    storage.save(program, tmp_path / "model.hmdf")
    again = storage.load(tmp_path / "model.hmdf")
    assert again.sha256 == program.sha256
    assert listing(again) == listing(program)
    assert f"linear({program.by_name['back'].source}[t-1])" in listing(program)
    assert b'\\"delay\\":1' in (tmp_path / "model.hmdf").read_bytes()
    assert [s.delay for s in again.synapses] == [s.delay for s in program.synapses]
    assert with_steps(program, 2).by_name["back"].delay == 1


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [
        ([msgspec.structs.replace(BACK, delay=0), relay("a", INPUT, "back"), HEAD], "'a', which does not come before"),
        ([msgspec.structs.replace(BACK, source="c"), relay("a", INPUT, "back"), HEAD], "'c', which is not there"),
        ([msgspec.structs.replace(BACK, source=INPUT), relay("a", INPUT, "back"), HEAD], "'input', which is not there"),
        ([msgspec.structs.replace(BACK, source="head"), relay("a", "back"), HEAD], "'head', which is not a population"),
        ([BACK, relay("a", INPUT, "back", shape=3), HEAD], "2 input features, but its source has 3"),
    ],
)
def test_what_is_refused(nodes, problem):
    with pytest.raises(ProgramError, match=problem):
        program_of(*nodes)


def test_no_other_delay():
    with pytest.raises(ProgramError, match="its delay is 2; 0 and 1 are possible"):
        Synapse("back", "a", linear([1, 1]), delay=2)


@pytest.mark.parametrize("seed", range(24))
def test_random_programs(seed):
    """Messages, saturations, logits and every counter, in 32-bit lanes and in 64 bits, with groups of samples."""
    program = recurrent_program(seed)
    messages = random_messages(program, 5, seed)
    wanted, simulator = reference.run(program, messages), Simulator(threads=1)
    found, proof = simulator.simulate(program, messages, taps=True), prove(program)
    for name, sent in wanted.messages.items():
        assert np.array_equal(sent, found.taps.messages[name]), name
        assert np.array_equal(wanted.saturations[name], found.taps.saturations[name]), name
        limits = proof.populations[name].message
        assert limits.low <= sent.min(), name
        assert sent.max() <= limits.high, name
    assert np.array_equal(wanted.logits, found.logits)
    counted = count(program, messages, wanted)
    for name, counts in counted.synapses.items():
        assert np.array_equal(counts.sops, found.counters.synapses[name].sops), name
        assert np.array_equal(counts.sops_per_sample, found.counters.synapses[name].sops_per_sample), name
    for name, counts in counted.populations.items():
        assert np.array_equal(counts.spikes, found.counters.populations[name].spikes), name
