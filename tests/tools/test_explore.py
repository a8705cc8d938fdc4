"""hmdf-explore: every point is what compiling and simulating gives, nothing finished is lost, the choice is right."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import click
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdf.export.config import Config
from hmdf.export.passes.first_steps import first_steps
from hmdf.hw_targets.schema import Cost
from hmdf.hw_targets.target import load_target
from hmdf.sim import reference, storage
from hmdf.sim.executor import Taps
from hmdf.sim.finding import Finding
from hmdf.sim.simulator import Simulator
from hmdf.tools.documents.exploration import Point, Setting
from hmdf.tools.exploration import runners
from hmdf.tools.exploration.choice import FRONT, Wanted, choose, front, preference, standard_error
from hmdf.tools.exploration.grid import RangeError, grid, numbers, trained_bits
from hmdf.tools.exploration.measure import build, key_of, measure
from hmdf.tools.exploration.options import ENERGY_UNITS, MEMORY_UNITS, Quantity, Share
from hmdf.tools.exploration.picture import draw
from hmdf.tools.exploration.runners import Job, run_cluster, run_here, run_processes
from hmdf.tools.exploration.store import Store
from hmdf.tools.exploration.workload import Workload, prepare
from hmdf.tools.inputs import load_data, normalised
from hmdf.tools.model import load_model
from programs import random_messages, random_program

from .conftest import ENVIRONMENT

TARGETS = Path(__file__).parents[2] / "hw_targets" / "chips"
SMALL = ("--bits", "2,4", "--steps", "1..T", "--target", "loihi2,loihi1")
EVERY = [Job(Setting(bits, steps), ("loihi2", "loihi1")) for bits in (2, 4) for steps in (1, 2)]


@pytest.fixture(scope="module")
def workload(demo) -> Workload:
    """The demo network on 60 digits, calibrated on 64, for both Loihis."""
    chips = [load_target("loihi2"), load_target("loihi1")]
    calibration = load_data("digits", "train", None, 64)
    return prepare(load_model(demo.model), load_data(str(demo.data), "test", None, None), calibration, chips,
                   pools=["keep"])  # fmt: skip


@pytest.fixture(scope="module")
def measured(workload) -> list[Point]:
    """Every point of EVERY, one after the other in this process."""
    return [point for part in run_here(workload, EVERY) for point in part]


def timeless(points: list[Point]) -> list[Point]:
    return sorted((msgspec.structs.replace(p, seconds=0.0) for p in points), key=lambda p: p.key)


# ---------------------------------------------------------------------------------- fewer steps


@pytest.mark.parametrize("seed", range(60))
def test_the_first_steps_are_those_of_the_whole_program(seed):
    program = random_program(seed)
    messages = random_messages(program, 3, seed)
    whole = reference.run(program, messages)
    logits = []
    for steps in range(1, program.time_steps + 1):
        shorter = first_steps(program, steps)
        assert shorter.time_steps == steps
        assert all(len(a) in (1, steps) for p in shorter.populations for _, a, _ in p.parameters())
        taps = reference.run(shorter, messages[:, : shorter.input_steps])
        for name, sent in taps.messages.items():
            assert np.array_equal(sent, whole.messages[name][:, :steps]), name
        logits.append(taps.logits)
    assert np.array_equal(logits[-1], whole.logits)
    assert_partial_sums(program, whole, logits)


def assert_partial_sums(program, whole: Taps, logits: list[np.ndarray]) -> None:
    """The logits after k steps, from the messages of the whole program and the read-out's definition."""
    synapse = program.by_name[program.readout.source]
    sent = whole.messages.get(synapse.source)
    if sent is None:
        return  # it reads the input itself
    weight = synapse.weight.astype(np.int64)
    flat = sent.reshape(len(sent), program.time_steps, -1).astype(np.int64)
    sums = np.cumsum(flat @ weight.T + program.readout.bias, axis=1)
    for k, got in enumerate(logits):
        assert np.array_equal(got, sums[:, k])


def test_all_steps_change_nothing_and_none_are_refused():
    program = next(p for p in map(random_program, range(99)) if p.time_steps > 1)
    assert first_steps(program, program.time_steps) is program
    for steps in (0, program.time_steps + 1):
        with pytest.raises(ValueError, match=r"steps must be in 1\.\."):
            first_steps(program, steps)


# ---------------------------------------------------------------------------------------- grid


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 4)), min_size=1, max_size=4))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_numbers_are_those_written(parts):
    text = ",".join(f"{a}..{a + more}" if more else str(a) for a, more in parts)
    expected = sorted({n for a, more in parts for n in range(a, a + more + 1)})
    assert numbers(text, 16) == expected


def test_t_is_the_last_number():
    assert numbers("1..T", 3) == [1, 2, 3]
    assert numbers("T", 3) == [3]


@pytest.mark.parametrize("text", ["", "x", "2..", "..3", "3..2", "0", "1..2..3", "17", "1,,2", "-1", "²", "1.5"])
def test_what_is_no_list_of_numbers(text):
    with pytest.raises(RangeError):
        numbers(text, 16)


def test_bits_beyond_training_are_one_setting():
    axes = {"message_bits": [16], "input_bits": [8], "weight_bits": [8], "pools": ["keep"]}
    assert grid([3, 4, 5, 8], [1, 2], 4, **axes) == [Setting(3, 1), Setting(3, 2), Setting(4, 1), Setting(4, 2)]


# ----------------------------------------------------------------------------------- one point


def test_the_trained_setting_is_what_hmdf_compile_writes(demo, workload):
    program, _ = build(workload, Setting(4, workload.time_steps), workload.targets["loihi2"])
    assert program.sha256 == storage.load(demo.program).sha256


def test_fewer_bits_keep_the_range(workload):
    wide, narrow = (build(workload, Setting(bits, 2), workload.targets["loihi2"])[0] for bits in (4, 2))
    for name in trained_bits(workload.networks["keep"].graph):
        before, after = wide.by_name[name].message, narrow.by_name[name].message
        assert (before.bits, after.bits) == (4, 2)
        assert after.scale == 4 * before.scale


def test_more_bits_than_trained_are_the_trained_program(workload):
    trained, more = (build(workload, Setting(bits, 2), workload.targets["loihi2"])[0] for bits in (4, 8))
    assert trained.sha256 == more.sha256


def test_a_point_is_what_simulating_its_program_gives(workload, measured):
    point = next(p for p in measured if p.target == "loihi2" and p.setting == Setting(2, 1))
    program, _ = build(workload, point.setting, workload.targets["loihi2"])
    x = normalised(load_data("digits", "all", None, 60), workload.preprocessing)
    result = Simulator(1).simulate(program, x, labels=workload.labels)
    assert point.fits
    assert point.program_sha256 == program.sha256
    assert (point.samples, point.accuracy) == (60, result.accuracy)
    assert point.correct == round(60 * result.accuracy)
    assert point.sops_per_sample == result.counters.sops_per_sample().mean()
    assert point.energy_pj.low < point.energy_pj.typical < point.energy_pj.high


def test_fewer_steps_cost_less(measured):
    one, two = (next(p for p in measured if p.target == "loihi2" and p.setting == Setting(4, k)) for k in (1, 2))
    assert one.energy_pj.typical < two.energy_pj.typical
    assert one.latency_ns.typical < two.latency_ns.typical
    assert one.memory_bytes < two.memory_bytes


def test_what_does_not_fit_is_a_point_with_its_findings(measured):
    unfit = [p for p in measured if p.target == "loihi1"]
    assert len(unfit) == 4
    assert all(p.findings and p.accuracy is not None for p in unfit)
    assert any("sends 1 bit" in f.problem and f.fix for f in unfit[0].findings)


def test_targets_that_refuse_a_program_are_points_too(demo, tmp_path):
    """Eight bits cannot hold nine products of an int8 weight: the compiler refuses, the exploration goes on."""
    wide = "accumulator_bits = { value = 32"
    chip = tmp_path / "narrow.toml"
    chip.write_text((TARGETS / "generic.toml").read_text().replace(wide, wide.replace("32", "8")))
    data = load_data("digits", "test", None, 8)
    narrow = prepare(load_model(demo.model), data, data, [load_target(chip)], pools=["keep"])
    [point] = measure(narrow, Setting(4, 1), tuple(narrow.targets))
    assert not point.fits
    assert point.accuracy is None
    assert any("cannot be proven safe" in f.problem for f in point.findings)
    assert choose([point], Wanted()).point is None


def test_serialised_spikes_give_the_same_classes(demo, workload):
    """On a chip with binary messages but otherwise without limits every graded spike is sent bit by bit."""
    chip = msgspec.structs.replace(
        load_target("generic"),
        name="binary",
        capabilities=msgspec.structs.replace(load_target("generic").capabilities, message_bits=1),
    )
    data = load_data(str(demo.data), "test", None, None)
    both = [
        prepare(load_model(demo.model), data, data, [chip], pools=["keep"], serialize=bitwise)
        for bitwise in (False, True)
    ]
    graded, bitwise = (measure(w, Setting(4, 1), ("binary",))[0] for w in both)
    assert bitwise.correct == graded.correct
    assert len(bitwise.findings) < len(graded.findings)
    assert bitwise.key != graded.key


def test_merged_pools_change_no_class(demo, workload):
    data = load_data(str(demo.data), "test", None, None)
    both = prepare(load_model(demo.model), data, data, [load_target("generic")], pools=["keep", "merge"])
    keep, merge = (measure(both, Setting(4, 2, pools=pools), ("generic",))[0] for pools in ("keep", "merge"))
    assert keep.correct == merge.correct
    assert keep.program_sha256 != merge.program_sha256
    assert Config(merge_pools=True).merge_pools


def test_the_key_changes_with_everything_that_counts(demo, workload):
    base = key_of(workload, Setting(4, 2), "loihi2")
    fewer = load_data(str(demo.data), "test", None, 59)
    calibration = load_data("digits", "train", None, 64)
    other = prepare(load_model(demo.model), fewer, calibration, [load_target("loihi2")], pools=["keep"])
    less = prepare(
        load_model(demo.model),
        load_data(str(demo.data), "test", None, None),
        load_data("digits", "train", None, 32),
        [load_target("loihi2")],
        pools=["keep"],
    )
    chip = msgspec.structs.replace(load_target("loihi2"), costs=load_target("loihi1").costs)
    cheaper = Workload(**(vars(workload) | {"targets": {"loihi2": chip}}))
    keys = [key_of(w, Setting(4, 2), "loihi2") for w in (workload, other, less, cheaper)]
    keys += [key_of(workload, Setting(4, 1), "loihi2"), key_of(workload, Setting(4, 2), "loihi1")]
    assert keys[0] == base
    assert len(set(keys)) == len(keys)


# ------------------------------------------------------------------------------------- workers


def test_processes_give_the_same_points(workload, measured):
    found = [point for part in run_processes(workload, EVERY, 2) for point in part]
    assert timeless(found) == timeless(measured)


def test_two_dask_workers_give_the_same_points(demo, workload, measured, call, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        with runners.connected(cluster.scheduler_address) as client:
            assert len(client.scheduler_info()["workers"]) == 2
            found = [point for part in run_cluster(workload, EVERY, client) for point in part]
        assert timeless(found) == timeless(measured)
        outcome = call("explore", demo.model, "--data", demo.data, *SMALL, "--scheduler", cluster.scheduler_address,
                       "--out", tmp_path / "out")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert len(list((tmp_path / "out" / "points").iterdir())) == 8


def test_no_scheduler_answers(demo, call, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(runners, "CONNECT_SECONDS", 1.0)
    outcome = call("explore", demo.model, "--data", "digits", "--scheduler", "tcp://127.0.0.1:9", "--out", tmp_path)
    assert outcome.code == 3
    assert "error: no Dask scheduler answers at 'tcp://127.0.0.1:9'" in outcome.err


def test_dask_is_missing(demo, call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    outcome = call("explore", demo.model, "--data", "digits", "--scheduler", "tcp://127.0.0.1:9", "--out", tmp_path)
    assert outcome.code == 3
    assert outcome.err == "error: --scheduler needs distributed, which is not installed: pip install 'hmdf[explore]'\n"


# ------------------------------------------------------------------------------------- resuming


def test_kept_points_come_back_and_damaged_ones_do_not(measured, tmp_path):
    store = Store(tmp_path)
    for point in measured:
        store.keep(point)
    assert [store.find(p.key) for p in measured] == measured
    assert store.find("0" * 32) is None
    path = tmp_path / "points" / f"{measured[0].key}.json"
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\xff\x00", b"{}", b"[1]", whole.replace(b"loihi2", b"\xff")):
        path.write_bytes(damaged)
        assert store.find(measured[0].key) is None
    path.write_bytes((tmp_path / "points" / f"{measured[1].key}.json").read_bytes())
    assert store.find(measured[0].key) is None


def test_only_what_is_missing_is_measured_again(demo, call, tmp_path, monkeypatch):
    out = tmp_path / "out"
    command = ("explore", demo.model, "--data", demo.data, *SMALL, "--jobs", "1", "--out", out)
    assert call(*command).code == 0
    first = json.loads((out / "exploration.json").read_text())
    paths = sorted((out / "points").iterdir())
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    done: list[Job] = []

    def counted(workload, setting, targets):
        done.append(Job(setting, targets))
        return measure(workload, setting, targets)

    monkeypatch.setattr(runners, "measure", counted)
    outcome = call(*command)
    assert outcome.code == 0
    assert "6 of 8 points were measured before" in outcome.out
    assert sum(len(job.targets) for job in done) == 2
    again = json.loads((out / "exploration.json").read_text())
    assert [p | {"seconds": 0} for p in again["points"]] == [p | {"seconds": 0} for p in first["points"]]
    assert again["chosen"] == first["chosen"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_exploration_goes_on(demo, call, tmp_path, how):
    """Stopped after its first point, it leaves no worker behind, and the next run measures the rest only."""
    out = tmp_path / "out"
    options = [demo.model, "--data", demo.data, "--bits", "1..4", "--input-bits", "6..8", "--out", out]
    command = [sys.executable, "-m", "hmdf.tools.explore", *map(str, options), "--jobs", "2"]
    process = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: kept(out), "the first point")
    if how == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, how)  # as the keyboard does: all processes of the group
    _, said = process.communicate(timeout=60)
    wait_for(lambda: not alive(process.pid), "the end of the workers")
    before = kept(out)
    assert 0 < before < 24
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert said.strip() == "interrupted; nothing that was complete is lost"
    outcome = call("explore", *options, "--jobs", "1")
    assert outcome.code == 0
    assert f"{before} of 24 points were measured before" in outcome.out
    assert kept(out) == len(json.loads((out / "exploration.json").read_text())["points"]) == 24


def kept(out: Path) -> int:
    """Points whose files are whole; one that is being written has a name that begins with a dot."""
    return len(list((out / "points").glob("[!.]*.json")))


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, what: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


# ---------------------------------------------------------------------------------------- choice


def a_point(index: int, target: str, correct: int, energy: float | None, memory: int, cores: int, fits: bool) -> Point:
    return Point(
        key=str(index),
        target=target,
        setting=Setting(1 + index % 8, 1 + index // 8),
        findings=[] if fits else [Finding("program", "it needs more", "a larger chip")],
        notes=[],
        samples=10,
        correct=correct,
        accuracy=correct / 10,
        energy_pj=None if energy is None else Cost(energy / 2, energy, 2 * energy),
        energy_status="estimate",
        memory_bytes=memory,
        cores=cores,
        chips=1,
    )


@st.composite
def many_points(draw) -> list[Point]:
    # Few different values, so that points are often equal in some figure.
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["chip", "other"]),
                st.integers(5, 10),
                st.sampled_from([None, 1.0, 2.0, 3.0]),
                st.integers(1, 3),
                st.integers(1, 3),
                st.booleans(),
            ),
            max_size=14,
        )
    )
    return [a_point(index, *row) for index, row in enumerate(rows)]


def all_limits() -> st.SearchStrategy[Wanted]:
    return st.builds(
        Wanted,
        max_energy=st.none() | st.sampled_from([0.5, 1.0, 2.5]),
        max_memory=st.none() | st.sampled_from([1.0, 2.0]),
        max_cores=st.none() | st.sampled_from([1, 2]),
        min_accuracy=st.none() | st.sampled_from([0.6, 0.9, 1.0]),
    )


@given(many_points())
@settings(deadline=None, derandomize=True, max_examples=150)
def test_the_front_by_brute_force(points):
    def figures(point: Point) -> tuple[float, ...]:
        energy = 1e9 if point.energy_pj is None else point.energy_pj.typical
        return -point.accuracy, energy, point.memory_bytes, point.cores

    expected = set()
    for point in (p for p in points if p.fits):
        rivals = [figures(p) for p in points if p.fits and p.target == point.target]
        mine = figures(point)
        if not any(r != mine and max(b - a for a, b in zip(mine, r, strict=True)) <= 0 for r in rivals):
            expected.add(point.key)
    assert front(points) == expected


@given(many_points(), all_limits())
@settings(deadline=None, derandomize=True, max_examples=200)
def test_the_chosen_point_keeps_the_limits_and_none_is_better(points, limits):
    choice = choose(points, limits)
    assert choice.why
    kept = [
        p
        for p in points
        if p.fits
        and (limits.max_energy is None or (p.energy_pj is not None and p.energy_pj.typical <= limits.max_energy))
        and (limits.max_memory is None or p.memory_bytes <= limits.max_memory)
        and (limits.max_cores is None or p.cores <= limits.max_cores)
        and (limits.min_accuracy is None or p.accuracy >= limits.min_accuracy)
    ]
    if not kept:
        assert choice.point is None
        return
    best = choice.point
    assert best in kept
    if limits.min_accuracy is None:
        assert best.accuracy == max(p.accuracy for p in kept)
        kept = [p for p in kept if p.accuracy == best.accuracy]
    energies = [np.inf if p.energy_pj is None else p.energy_pj.typical for p in kept]
    mine = np.inf if best.energy_pj is None else best.energy_pj.typical
    assert mine == min(energies)
    assert best == min(kept, key=preference(limits))
    assert not any(r.key != best.key and r.key in front(kept) and preference(limits)(r) < preference(limits)(best)
                   for r in kept)  # fmt: skip


def test_why_nothing_is_chosen():
    points = [a_point(0, "chip", 9, 3.0, 2, 2, True), a_point(1, "chip", 7, 1.0, 1, 1, True)]
    why = choose(points, Wanted(max_energy=0.5, min_accuracy=0.8)).why
    assert "energy <= 0.000000500 uJ is kept by none: the least is 2-bit spikes, 1 step on chip" in why[1]
    why = choose(points, Wanted(max_energy=2.0, min_accuracy=0.8)).why
    assert why[1].startswith("without energy <= 0.00000200 uJ: 1-bit spikes, 1 step on chip")
    assert why[2].startswith("without accuracy >= 80.00%: 2-bit spikes, 1 step on chip")
    why = choose([a_point(0, "chip", 9, 3.0, 2, 2, False)], Wanted()).why
    assert why[0] == "none of the 1 points fits its target"
    assert why[1].endswith("program: it needs more; fix: a larger chip")


def test_an_incomplete_energy_proves_no_limit():
    point = msgspec.structs.replace(a_point(0, "chip", 9, 1.0, 2, 2, True), energy_missing=("static_power",))
    assert choose([point], Wanted(max_energy=2.0)).point is None
    assert choose([point], Wanted()).point == point


def test_why_a_point_is_chosen():
    points = [a_point(0, "chip", 10, 3.0, 2, 2, True), a_point(1, "chip", 9, 1.0, 1, 1, True)]
    best = choose(points, Wanted(max_energy=4.0))
    assert best.point == points[0]
    text = "\n".join(best.why)
    assert "2 of 2 points fit their target, 2 of them keep energy <= 0.00000400 uJ; it is the most accurate" in text
    assert "the limit is kept by the typical value, not by the highest" in text
    tight = choose(points, Wanted(max_energy=1.0))
    assert tight.point == points[1]
    assert tight.why[-1].startswith("without the limits: 1-bit spikes, 1 step on chip")


@given(st.integers(1, 1000), st.data())
@settings(deadline=None, derandomize=True, max_examples=50)
def test_the_standard_error_is_that_of_the_posterior(samples, data):
    from scipy.stats import beta

    correct = data.draw(st.integers(0, samples))
    point = msgspec.structs.replace(a_point(0, "chip", 0, 1.0, 1, 1, True), samples=samples, correct=correct)
    assert standard_error(point) == pytest.approx(beta(correct + 1, samples - correct + 1).std(), rel=1e-9)


# ----------------------------------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("text", "value"), [("20uJ", 20e6), ("1.5 mJ", 1.5e9), ("3µJ", 3e6), ("7pJ", 7.0), ("1e-3J", 1e9), ("2nJ", 2e3)]
)
def test_energies(text, value):
    assert Quantity(ENERGY_UNITS).convert(text, None, None) == pytest.approx(value)


@pytest.mark.parametrize("text", ["20", "uJ", "-1uJ", "0uJ", "nanuJ", "infuJ", "20 uW", "20Juj"])
def test_what_is_no_energy(text):
    with pytest.raises(click.BadParameter, match="is not a positive number with one of the units"):
        Quantity(ENERGY_UNITS).convert(text, None, None)


def test_memory_and_shares():
    assert Quantity(MEMORY_UNITS).convert("1.5MB", None, None) == 1.5e6
    assert Share().convert("97.5%", None, None) == pytest.approx(0.975)
    assert Share().convert("0.975", None, None) == 0.975
    for text in ("97.5", "101%", "x", "-1%"):
        with pytest.raises(click.BadParameter, match="is not a share"):
            Share().convert(text, None, None)


# ------------------------------------------------------------------------------------ the command


def test_the_whole_command(demo, call, tmp_path):
    out = tmp_path / "out"
    outcome = call("explore", demo.model, "--data", demo.data, *SMALL, "--jobs", "1", "--max-cores", "8", "--out", out)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    found = json.loads((out / "exploration.json").read_text())
    assert [(p["target"], p["setting"]["spike_bits"], p["setting"]["time_steps"]) for p in found["points"]] == [
        (target, bits, steps) for target in ("loihi2", "loihi1") for bits in (2, 4) for steps in (1, 2)
    ]
    chosen = next(p for p in found["points"] if p["key"] == found["chosen"])
    assert chosen["target"] == "loihi2"
    assert chosen["front"]
    assert f"\nchosen: {chosen['setting']['spike_bits']}-bit spikes" in outcome.out
    assert "4 points do not fit loihi1" in outcome.out
    assert (out / "exploration.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(out / "exploration.svg").getroot().tag.endswith("svg")
    program = storage.load(out / "chosen.hmdf")
    assert program.sha256 == chosen["program_sha256"]
    simulated = call("sim", out / "chosen.hmdf", "--data", demo.data, "--json", out / "sim.json")
    assert simulated.code == 0
    assert json.loads((out / "sim.json").read_text())["accuracy"]["integer"] == chosen["accuracy"]


def test_limits_that_nothing_keeps(demo, call, tmp_path):
    out = tmp_path / "out"
    command = ("explore", demo.model, "--data", demo.data, "--bits", "4", "--steps", "1", "--jobs", "1", "--out", out)
    assert call(*command).code == 0
    assert (out / "chosen.hmdf").exists()
    outcome = call(*command, "--max-energy", "1pJ")
    assert outcome.code == 4
    assert "energy <= 0.00000100 uJ is kept by none: the least is 4-bit spikes, 1 step on loihi2" in outcome.out
    assert outcome.err == "error: no setting fits and keeps the limits; the reasons are above\n"
    assert not (out / "chosen.hmdf").exists()


def test_bits_beyond_training_are_said(demo, call, tmp_path):
    outcome = call("explore", demo.model, "--data", demo.data, "--bits", "4..8", "--steps", "1", "--jobs", "1",
                   "--out", tmp_path / "out")  # fmt: skip
    assert "note: training quantised spikes to 4 bits at most: more bits give the same program" in outcome.out
    assert len(list((tmp_path / "out" / "points").iterdir())) == 1


def test_no_picture_without_matplotlib(demo, call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = call("explore", demo.model, "--data", demo.data, "--bits", "4", "--steps", "1", "--jobs", "1",
                   "--out", tmp_path / "out")  # fmt: skip
    assert outcome.code == 0
    assert "note: no picture: it needs matplotlib" in outcome.out


def test_pictures_of_the_same_points_are_the_same(measured, tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        draw(measured, measured[0], Wanted(max_energy=1e8, min_accuracy=0.2), folder)
    for name in ("exploration.png", "exploration.svg"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_a_picture_of_points_without_costs(measured, tmp_path):
    bare = [msgspec.structs.replace(p, energy_pj=None, memory_bytes=None, cores=None) for p in measured]
    assert len(draw(bare, None, Wanted(), tmp_path)) == 2
    assert len(front(bare, FRONT)) >= 1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--bits", "8..2"], 2, "--bits: '8..2' must ascend within 1..16"),
        (["--bits", "four"], 2, "--bits: 'four' is not a number or a range such as 2..8"),
        (["--steps", "1..9"], 2, "--steps: '1..9' must ascend within 1..2"),
        (["--message-bits", "1"], 2, "--message-bits: '1' must ascend within 2..16"),
        (["--max-energy", "20"], 2, "is not a positive number with one of the units"),
        (["--min-accuracy", "95"], 2, "write 97.5% or 0.975"),
        (["--target", "loihi2,loihi2"], 2, "two targets are named 'loihi2'"),
        (["--target", "lohi2"], 3, "Did you mean 'loihi2'?"),
        (["--data", "digit"], 3, "did you mean 'digits'?"),
        (["--calibration", "absent.npz"], 3, "absent.npz"),
    ],
)
def test_bad_input(demo, call, tmp_path, options, code, message):
    outcome = call("explore", demo.model, "--data", "digits", *options, "--out", tmp_path / "out")
    assert outcome.code == code
    assert message in outcome.err
    assert not (tmp_path / "out" / "exploration.json").exists()


def test_bad_files(demo, call, tmp_path):
    outcome = call("explore", tmp_path / "absent.pt", "--data", "digits", "--out", tmp_path / "out")
    assert outcome.code == 3
    assert outcome.err == f"error: {tmp_path / 'absent.pt'}: no such file\n"
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    outcome = call("explore", demo.model, "--data", "digits", "--out", blocked)
    assert outcome.code == 3
    assert blocked.read_text() == "not a folder"


def test_data_of_another_shape(demo, call, tmp_path):
    path = tmp_path / "large.npz"
    x, y = np.zeros((20, 10, 10), np.float32), np.arange(20) % 10
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    outcome = call("explore", demo.model, "--data", path, "--out", tmp_path / "out")
    assert outcome.code == 3
    assert "its samples are (1, 10, 10), the network takes (1, 8, 8)" in outcome.err


def test_help_loads_no_torch():
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print([m for m in ('torch', 'dask', 'matplotlib') if m in sys.modules]))\n"
        "sys.argv = ['hmdf-explore', '--help']\n"
        "from hmdf.tools.explore import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")
