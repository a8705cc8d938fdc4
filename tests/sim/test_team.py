"""Threads that share out one sample give the reference's integers and counters, whoever of them comes when."""

from functools import cache
from threading import Barrier, Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdf.sim import reference
from hmdf.sim.contract import INPUT, Conv2d, HybridFiring, Linear, Message, Population, Port, Relay, Synapse
from hmdf.sim.counters import Counters, collect, count
from hmdf.sim.executor import Taps
from hmdf.sim.kernels import engine
from hmdf.sim.kernels.layout import aligned_zeros
from hmdf.sim.kernels.paths import ENVIRONMENT, available_paths, choose_path
from hmdf.sim.kernels.plan import build_plan
from hmdf.sim.kernels.team import Team, board_size
from hmdf.sim.kernels.workspace import Workspace
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.simulator import Simulator
from programs import program_of, random_messages

ALL_AT_ONCE, FIRST_ALONE, FIRST_LAST = "all at once", "the first ends before the others come", "the first comes last"


class Ordered(Workspace):
    """A workspace whose threads come in a wanted order."""

    order = ALL_AT_ONCE

    def _run_together(self, threads: int, counted: bool) -> None:
        board = aligned_zeros(board_size(self.plan.stages, threads), np.int64)
        runs = [self.arguments(1, counted, Team(place, threads, board.ctypes.data)) for place in range(threads)]
        start = Barrier(threads if self.order == ALL_AT_ONCE else 1)

        def work(place: int) -> None:
            start.wait()
            engine.run(*runs[place])

        workers = [Thread(target=work, args=(place,)) for place in range(threads)]
        if self.order == FIRST_LAST:
            workers = workers[::-1]
        for worker in workers:
            worker.start()
            if self.order != ALL_AT_ONCE:
                worker.join()
        for worker in workers:
            worker.join()


@pytest.fixture(params=available_paths())
def path(request, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, request.param)
    return choose_path()


def expected_of(program: Program, messages: np.ndarray) -> tuple[Taps, Counters]:
    taps = reference.run(program, messages)
    return taps, count(program, messages, taps)


def assert_same(
    program: Program, messages: np.ndarray, right: tuple[Taps, Counters], workspace: Workspace, threads: int
) -> None:
    """Messages, logits, saturations and every counter of one sample."""
    expected, counters = right
    logits, tally = workspace.run(messages, True, threads)
    assert np.array_equal(logits, expected.logits)
    for row, (name, sent) in enumerate(expected.messages.items(), start=1):
        assert np.array_equal(np.broadcast_to(workspace.messages(name)[:1], sent.shape), sent), name
        assert np.array_equal(tally.saturations[row].sum(axis=0), expected.saturations[name]), name
    assert_same_counters(collect(program, [tally]), counters)


def assert_same_counters(got: Counters, expected: Counters) -> None:
    for name, population in expected.populations.items():
        assert np.array_equal(population.spikes, got.populations[name].spikes), name
    for name, synapse in expected.synapses.items():
        assert np.array_equal(synapse.sops, got.synapses[name].sops), name


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    threads=st.integers(1, 3),
    order=st.sampled_from([ALL_AT_ONCE, FIRST_ALONE, FIRST_LAST]),
    share=st.sampled_from([None, -1.0, 1.0]),
)
def test_random_programs(seed, threads, order, share):
    program, path = program_of(seed), choose_path()
    workspace = Ordered(program, build_plan(program, path), path, 1, share)
    workspace.order = order
    for sample in np.split(random_messages(program, 2, seed), 2):  # the second in memory that was used
        assert_same(program, sample, expected_of(program, sample), workspace, threads)


@cache  # for every path
def network(size: int, width: int) -> tuple[Program, np.ndarray, tuple[Taps, Counters]]:
    """All that a team does differently: convolutions at points and others, with weights for the cache and beyond it."""
    rng = np.random.default_rng(size)
    one, zero = np.ones((1, 1), dtype=np.int32), np.zeros((1, 1), dtype=np.int32)
    fire, spikes = HybridFiring(np.full((1, 1), 3000), 12, np.full((1, 1), 300), 5), Message(4, False, 1.0)
    inner, half = (width, size, size), (4 * width, size // 2, size // 2)
    weights = [rng.integers(-1, 2, shape).astype(np.int8) for shape in ((width, 2, 3, 3), (width, width, 3, 3))]
    strided, wide = (rng.integers(-1, 2, (4 * width, n, 3, 3)).astype(np.int8) for n in (width, 4 * width))
    program = Program(
        time_steps=3,
        state_bits=24,
        accumulator_bits=24,
        input=Input((2, size, size), Message(8, True, 1.0), "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Synapse("conv0", INPUT, Conv2d(weights[0], 2, padding=(1, 1))),
            Population("stem", inner, (Port("conv0", 7 * one, 0),), zero, Relay(), Message(16, True, 1.0)),
            Population("a", inner, (Port("stem", one, 1),), zero, fire, spikes),
            Synapse("conv1", "a", Conv2d(weights[1], 2, padding=(1, 1))),
            Population("b", inner, (Port("conv1", 9 * one, 1), Port("stem", one, 0)), zero, fire, spikes),
            Synapse("conv2", "b", Conv2d(strided, 2, (2, 2), (1, 1))),
            Population("c", half, (Port("conv2", 5 * one, 0),), zero, fire, spikes),
            Synapse("conv3", "c", Conv2d(wide, 2, padding=(1, 1))),
            Population("d", half, (Port("conv3", 5 * one, 1),), zero, fire, spikes),
            Synapse("head", "d", Linear(rng.integers(-8, 8, (5, int(np.prod(half)))).astype(np.int8), 4)),
        ),
        readout=Readout("head", np.arange(5), 1.0),
    )
    messages = random_messages(program, 3, 4)
    return program, messages, expected_of(program, messages[:1])


@pytest.mark.parametrize(("size", "width"), [(12, 64), (4, 96)])
def test_shares_of_pixels_and_of_channels(path, size, width):
    program, messages, right = network(size, width)
    plan = build_plan(program, path)
    for threads, order in [(2, ALL_AT_ONCE), (3, ALL_AT_ONCE), (2, FIRST_LAST)]:
        workspace = Ordered(program, plan, path, 1)
        workspace.order = order
        assert_same(program, messages[:1], right, workspace, threads)


def test_the_simulator_chooses_teams():
    """Fewer samples than threads, as an array or in parts; the same counters as from one thread."""
    program, messages, _ = network(12, 64)
    for samples, threads in [(1, 2), (1, 3), (2, 5), (3, 2), (0, 2)]:
        x = messages[:samples]
        alone, team = Simulator(1).simulate(program, x), Simulator(threads)
        for given_x in (x, x, (x[i : i + 1] for i in range(samples))):
            got = team.simulate(program, given_x)
            assert np.array_equal(got.logits, alone.logits)
            assert_same_counters(got.counters, alone.counters)
        assert np.array_equal(team.run(program, x).messages["d"], Simulator(1).run(program, x).messages["d"])
