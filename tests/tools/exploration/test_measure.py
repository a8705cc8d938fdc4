"""A point is what compiling and simulating gives; its key changes with everything that counts."""

from pathlib import Path

import msgspec

from hmdf.export.config import Config
from hmdf.hw_targets.target import load_target
from hmdf.sim import storage
from hmdf.sim.simulator import Simulator
from hmdf.tools.documents.exploration import Setting
from hmdf.tools.exploration.choice import Wanted, choose
from hmdf.tools.exploration.grid import trained_bits
from hmdf.tools.exploration.measure import build, key_of, measure
from hmdf.tools.exploration.workload import Workload, prepare
from hmdf.tools.inputs import load_data, normalised
from hmdf.tools.model import load_model

TARGETS = Path(__file__).parents[3] / "hw_targets" / "chips"


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


def test_more_steps_than_trained_need_parameters_that_do_not_change(workload):
    (point,) = measure(workload, Setting(4, workload.time_steps + 1), ("loihi2",))
    assert [finding.where for finding in point.findings] == ["block.act1", "block.act2", "act3", "act4"]
    assert all("change from step to step" in finding.problem for finding in point.findings)


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
