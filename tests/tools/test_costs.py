"""Targets on the command line: a chip of one's own, exit 4 with every finding, the table, a baseline beside it."""

import json
import re
import shutil
from pathlib import Path

import pytest

import hmdf.hw_targets.target as module
from hmdf.hw_targets.target import target_names

SHIPPED = Path(module.__file__).parent / "chips" / "loihi2.toml"


@pytest.fixture
def chip(tmp_path):
    path = tmp_path / "my_chip.toml"
    path.write_text(SHIPPED.read_text().replace('name = "loihi2"', 'name = "mine"').replace("Intel Loihi 2", "My chip"))
    return path


def change(chip, *replacements):
    text = chip.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    chip.write_text(text)


@pytest.fixture
def compiled(call, demo, chip, tmp_path):
    """The demo for one's own chip: (outcome, folder)."""
    outcome = call(
        "compile", demo.model, "--target", chip, "--samples", 32, "--emit", "hmdf", "--out", tmp_path / "mine"
    )
    assert outcome.code == 0, outcome.err
    return outcome, tmp_path / "mine"


def run(call, demo, path, *options):
    """The JSON of a run of the demo."""
    outcome = call("sim", demo.program, "--data", demo.data, "--samples", 20, "--json", path, *options)
    assert outcome.code == 0, outcome.err
    return json.loads(path.read_text()), outcome.out


def test_a_chip_of_ones_own(call, demo, chip, compiled):
    outcome, folder = compiled
    assert "fits My chip on 1 chip" in outcome.out
    mapping = json.loads((folder / "mapping.json").read_text())
    assert mapping["target"] == "mine"
    assert {"core", "layer", "bytes", "fan_in", "fan_out"} <= set(mapping["slices"][0])
    assert mapping["travel"]["act3"]["hops_per_message"] >= 0
    shown = call("sim", folder / "model.hmdf", "--data", demo.data, "--samples", 5, "--target", chip)
    assert shown.code == 0
    assert re.search(r"^mine +yes +estimate", shown.out, re.MULTILINE)


def test_without_its_file_one_is_told(call, demo, compiled):
    shown = call("sim", compiled[1] / "model.hmdf", "--data", demo.data, "--samples", 5)
    assert shown.code == 0
    assert "compiled for 'mine', which is not shipped: give its file with --target" in shown.out


@pytest.mark.parametrize("command", ["compile", "sim"])
def test_mistakes_in_it_are_told_with_key_and_expectation(call, demo, chip, command):
    change(chip, ("value = 8192", 'value = "many"'), ('unit = "mW"', 'unit = "W"'))
    given = [demo.model, "--check"] if command == "compile" else [demo.program, "--data", demo.data]
    outcome = call(command, *given, "--target", chip)
    assert outcome.code == 3
    assert "my_chip.toml: 2 mistake(s)" in outcome.err
    assert "limits.neurons_per_core.value: expected an integer (got 'many')" in outcome.err
    assert "costs.static_power.unit: expected 'mW' (got 'W')" in outcome.err


def test_exit_4_with_every_finding(call, demo, tmp_path):
    outcome = call("compile", demo.model, "--target", "loihi1", "--samples", 32, "--out", tmp_path / "no")
    assert outcome.code == 4
    assert not (tmp_path / "no").exists()
    count = int(re.search(r"(\d+) findings above; nothing was written", outcome.err)[1])
    found = re.findall(r"^\d+\. (\S+): (\w+), needed (.+), available (.+)$", outcome.out, re.MULTILINE)
    assert len(found) == len(re.findall("^    fix: ", outcome.out, re.MULTILINE)) == count
    assert ("block.act1", "message_bits", "4", "1") in found
    assert {resource for _, resource, _, _ in found} >= {"signed_messages", "dynamics", "multiplier"}


def test_exit_4_where_no_program_exists_for_the_accumulators(call, demo, chip):
    change(chip, ("accumulator_bits = { value = 24", "accumulator_bits = { value = 8"), ('"hybrid_firing", ', ""))
    outcome = call("compile", demo.model, "--target", chip, "--check", "--samples", 32)
    assert outcome.code == 4
    assert "accumulator_bits, needed over 8, available 8" in outcome.out
    assert "mine has no hybrid firing neuron" in outcome.out


def test_all_targets_in_one_table(call, demo, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)  # microcontrollers without a cross-compiler: quick
    report, text = run(call, demo, tmp_path / "out.json", "--target", "all")
    assert [row["target"] for row in report["targets"]] == target_names()
    for name in target_names():
        assert re.search(rf"^{name} +(yes|no: \d+ findings?) ", text, re.MULTILINE)
    cmos = next(row for row in report["targets"] if row["target"] == "cmos45")
    assert cmos["energy_pj"] == report["literature"]["energy_pj"]
    loihi2 = next(row for row in report["targets"] if row["target"] == "loihi2")
    assert loihi2["energy_spread_pj"]["mean"] == pytest.approx(loihi2["energy_pj"]["typical"])
    assert loihi2["latency_spread_ns"]["smallest"] < loihi2["latency_spread_ns"]["largest"]
    assert sum(loihi2["memory_by_purpose"].values()) == loihi2["memory_bytes"]
    cortex = next(row for row in report["targets"] if row["target"] == "cortex-m4")
    assert cortex["footprint"]["flash_bytes"] + cortex["footprint"]["ram_bytes"] == cortex["memory_bytes"]
    assert "cortex-m4: flash" in text
    assert "without code and stack: arm-none-eabi-gcc is not installed" in text


def test_does_it_fit_my_part(call, demo, tmp_path):
    """A part with too little RAM: exit 4 and a fix; carried out, 16-bit membranes fit it."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    part = tmp_path / "part.toml"
    part.write_text((SHIPPED.parent / "cortex-m4.toml").read_text().replace('name = "cortex-m4"', 'name = "mine"'))
    change(part, ("value = 262144", "value = 8192"))
    outcome = call("compile", demo.model, "--target", part, "--check", "--samples", 32)
    assert outcome.code == 4
    assert re.search(r"program: ram, needed 1\d,\d{3}, available 8,192", outcome.out)
    assert "fix: a part with" in outcome.out
    assert "16-bit membranes (state_bits 16 in a target file of your own)" in " ".join(outcome.out.split())
    change(part, ("state_bits = { value = 32", "state_bits = { value = 16"))
    outcome = call(
        "compile", demo.model, "--target", part, "--samples", 32, "--emit", "hmdf", "--out", tmp_path / "out"
    )
    assert outcome.code == 0, outcome.err
    (row,) = json.loads((tmp_path / "out" / "report.json").read_text())["targets"]
    assert row["footprint"]["ram_bytes"] <= 8192
    if shutil.which("qemu-system-arm") is not None:
        assert f"{row['footprint']['instructions']:,.0f} instructions for a sample in QEMU, not cycles" in outcome.out


def test_a_baseline_is_a_row_and_a_key(call, demo, tmp_path):
    theirs, _ = run(call, demo, tmp_path / "lif.json", "--target", "loihi2")
    ours, text = run(call, demo, tmp_path / "out.json", "--baseline", tmp_path / "lif.json")
    baseline = ours["baseline"]
    assert theirs["baseline"] is None
    assert baseline["accuracy"] == theirs["accuracy"]["integer"]
    assert baseline["sops_per_sample"] == theirs["sops"]["per_sample"]
    assert baseline["energy_pj"] == theirs["literature"]["energy_pj"]
    assert [row["energy_pj"] for row in baseline["targets"]] == [row["energy_pj"] for row in theirs["targets"]]
    (line,) = re.findall(r"^baseline small \(lif\.json\) .*$", text, re.MULTILINE)
    (mine,) = re.findall(r"^this program .*$", text, re.MULTILINE)
    # The same run: the same figures.
    assert line.split()[3:] == mine.split()[2:]


def test_a_baseline_without_the_target_says_so(call, demo, tmp_path):
    run(call, demo, tmp_path / "lif.json", "--target", "speck")
    _, text = run(call, demo, tmp_path / "out.json", "--target", "loihi2", "--baseline", tmp_path / "lif.json")
    assert "lif.json has no figures for loihi2: run hmdf-sim --target loihi2 for it" in text


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace('"samples": 20', '"samples": 19'), "run on 19 samples of"),
        (lambda text: text.replace('"labels_sha256": "', '"labels_sha256": "0'), "run both on the same samples"),
        (lambda text: text.replace('"literature"', '"x"'), "of hmdf-sim --json: Object missing required"),
        (lambda text: text[:100], "not written by this version of hmdf-sim --json"),
        (lambda text: "[]", "not written by this version of hmdf-sim --json"),
    ],
)
def test_another_baseline_is_refused(call, demo, tmp_path, edit, message):
    path = tmp_path / "lif.json"
    run(call, demo, path)
    path.write_text(edit(path.read_text()))
    outcome = call("sim", demo.program, "--data", demo.data, "--samples", 20, "--baseline", path)
    assert outcome.code == 3
    assert message in outcome.err
    assert f"--baseline {path}" in outcome.err
