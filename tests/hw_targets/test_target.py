import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from chip_networks import TOY_CHIP

import hmdf.hw_targets.target as module
from hmdf.hw_targets.schema import UNITS, Costs
from hmdf.hw_targets.tables import pages, with_list
from hmdf.hw_targets.target import load_target, parse_target, target_names
from hmdf.sim.contract import Dynamics
from hmdf.sim.errors import TargetError

SHIPPED = target_names()
CHIPS = Path(module.__file__).parent / "chips"
DOCS = Path(__file__).parents[2] / "docs"
RUN = "run: python -m hmdf.hw_targets.tables docs"

KINDS = ", ".join(kind.kind() for kind in get_args(Dynamics))


def test_a_file_is_all_that_a_shipped_target_needs():
    assert len(SHIPPED) > 5
    assert [load_target(name).name for name in SHIPPED] == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_number_has_source_and_status(name):
    """Every value of the file is a fact, with a source that the file explains and, unless published, an argument."""
    target = load_target(name)
    raw = tomllib.loads((CHIPS / f"{name}.toml").read_text())
    keys = {f"{s}.{k}" for s in ("capabilities", "limits", "costs", "memory", "processor") for k in raw.get(s, {})}
    assert {fact.key for fact in target.facts} == keys
    for fact in target.facts:
        assert len(target.sources[fact.source]) > 10
        sites = re.findall(r"[a-z-]+\.(?:org|com|io|ai)\b", fact.note)
        assert not sites, f"{fact.key}: {sites} belong in [sources]"
        assert fact.status == "published" or len(fact.note) > 5, fact.key
        if fact.status == "estimate":
            ends = fact.value if fact.key.startswith("costs.") else {"low": fact.low, "high": fact.high}
            assert ends["low"] < ends["high"], fact.key
        else:
            assert (fact.low, fact.high) == (None, None), fact.key


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_derived_from_another_target_is_its_arithmetic(name):
    """To the three digits given: high is the other's typical cost, low a part of it, typical low or the mean."""
    for key, entry in tomllib.loads((CHIPS / f"{name}.toml").read_text()).get("costs", {}).items():
        if "derive" in entry:
            high = load_target(entry["derive"]["target"]).fact(f"costs.{key}").value["typical"]
            low = high / entry["derive"]["divided_by"]
            typical = low if entry["typical"] == entry["low"] else (low * high) ** 0.5
            for end, exact in {"low": low, "typical": typical, "high": high}.items():
                assert entry[end] == pytest.approx(exact, rel=5e-3), f"{key}.{end}"


def test_the_numbers_the_compiler_reads():
    c = load_target("loihi2").capabilities
    assert (c.state_bits, c.accumulator_bits, c.message_bits, c.signed_messages) == (24, 24, 24, True)
    assert c.weight_bits == (1, 2, 4, 8)
    limits = load_target("loihi2").limits
    assert (limits.cores, limits.neurons_per_core, load_target("loihi2").memory_per_core) == (128, 8192, 192 * 1024)
    assert load_target("loihi1").capabilities.message_bits == 1
    assert load_target("generic").memory_per_core is None


def test_speck_cores_differ():
    """Its neuron memories hold the 327,680 16-bit states that are published."""
    speck = load_target("speck")
    neuron = next(m for m in speck.memories if m.name == "neuron")
    assert sum(neuron.bytes) // 2 == 327_680
    assert speck.memory_per_core == (16 + 128) * 1024


def test_weights_are_stored_in_the_narrowest_width_that_holds_them():
    speck, truenorth = load_target("speck").capabilities, load_target("truenorth").capabilities
    assert [speck.stored_weight_bits(b) for b in (1, 2, 4, 8)] == [8, 8, 8, 8]
    assert [truenorth.stored_weight_bits(b) for b in (1, 2, 4, 8)] == [1, 2, 4, None]
    assert [truenorth.axons_per_neuron(b) for b in (1, 2, 4)] == [2, 2, 4]


def test_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(TargetError, match="Did you mean 'loihi2'") as error:
        load_target("lohi2")
    assert all(name in str(error.value) for name in SHIPPED)


def test_a_file_by_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TOY_CHIP)
    assert load_target(path).name == "toy"
    with pytest.raises(TargetError, match=r"cannot read target '.*gone\.toml'"):
        load_target(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('value = 32, source = "s", ', "value = 32, ", "limits.neurons_per_core.source: is missing"),
        ('value = 32, source = "s", status = "published"', 'value = 32, source = "s"', "neurons_per_core.status: is"),
        (
            'unit = "pJ", source = "s", status = "published" }',
            'unit = "pJ", source = "s" }',
            "status: is missing",
        ),
        ('value = 32, source = "s"', 'value = 32, source = "t"', "neurons_per_core.source: 't' is not a key of"),
        ('value = 32, source = "s", status = "published"', 'value = 32, source = "s", status = "guess"', "'guess'"),
        ('value = 32, source = "s", status = "published"', 'value = 32, source = "s", status = "derived"', "argument"),
        ("neurons_per_core = { value = 32", 'neurons_per_core = { value = "32"', "expected an integer (got '32')"),
        ("bytes = 4096", "bytes = -1", "memory.shared.bytes: expected a positive number of bytes"),
        ("value = [1, 2, 4, 8]", "value = 8", "capabilities.weight_bits.value: expected a list of integers (got 8)"),
        ("value = [1, 2, 4, 8]", "value = [8, 4]", "capabilities.weight_bits.value: expected ascending"),
        (
            '["relay", ',
            '["relais", ',
            f"dynamics.value[0]: expected one of {KINDS}",
        ),
        (
            "neurons_per_core = { value = 32",
            "neurons_per_core = { value = 0",
            "neurons_per_core.value: expected a",
        ),
        ("neurons_per_core = {", "neuron_per_core = {", "did you mean 'neurons_per_core'"),
        ("state_bits = { value = 24", "state_bits = { value = 4", "capabilities.state_bits.value: expected 8..64"),
        ("leak = {", "leek = {", "capabilities.leak: is missing, expected true or false"),
        ("low = 1, typical = 2, high = 3", "low = 2, typical = 1, high = 3", "low <= typical <= high"),
        ("low = 1, typical = 2, high = 3", "low = 1, high = 3", "typical"),
        ('unit = "mW"', 'unit = "W"', "costs.static_power.unit: expected 'mW'"),
        ("bytes = 4096", 'bytes = "many"', "memory.shared"),
        ("bytes = 4096", "bytes = [1, 2]", "memory.shared.bytes: expected one number, or 16"),
        ("value = [4, 4]", "value = [2, 2]", "4 places on the mesh for 16 cores"),
        ('name = "toy"', 'name = "Toy chip"', "name: must be lower-case"),
        ("[limits]", "[limit]", "limit: unknown key, did you mean 'limits'"),
        ("[limits]", "[limits", "not valid TOML"),
    ],
)
def test_a_mistake_is_reported_with_its_key_and_what_was_expected(old, new, message):
    assert old in TOY_CHIP
    with pytest.raises(TargetError) as error:
        parse_target(TOY_CHIP.replace(old, new, 1), "mine.toml")
    assert message in str(error.value)
    assert str(error.value).startswith("mine.toml: ")


def test_all_mistakes_at_once():
    text = TOY_CHIP.replace("value = 32", 'value = "x"').replace('unit = "mW"', 'unit = "W"')
    with pytest.raises(TargetError) as error:
        parse_target(text, "mine.toml")
    assert "2 mistake(s)" in str(error.value)


def test_an_estimate_needs_a_low_and_a_high():
    cost = 'mac_energy = { low = 5, typical = 5, high = 5, unit = "pJ", source = "s", status = '
    text = TOY_CHIP.replace(f'{cost}"published"', f'{cost}"estimate", note = "n"')
    with pytest.raises(TargetError, match=r"costs\.mac_energy: an estimate needs low < high"):
        parse_target(text, "mine.toml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "limits.neurons_per_core: an estimate needs low and high"),
        ("low = 16,", "limits.neurons_per_core: an estimate needs low and high"),
        ("low = 16, high = 24,", "limits.neurons_per_core: needs low <= value <= high (got 16, 32, 24)"),
        ('low = 16, high = "many",', "limits.neurons_per_core.high: expected an integer (got 'many')"),
        ("low = 16, high = 64,", ""),
    ],
)
def test_an_estimate_that_is_no_cost_too(given, message):
    known = 'value = 32, source = "s", status = "published"'
    text = TOY_CHIP.replace(known, f'value = 32, {given} source = "s", status = "estimate", note = "why"')
    if message:
        with pytest.raises(TargetError, match=re.escape(message)):
            parse_target(text, "mine.toml")
    else:
        fact = parse_target(text, "mine.toml").fact("limits.neurons_per_core")
        assert (fact.low, fact.value, fact.high) == (16, 32, 64)


def test_every_cost_has_a_unit():
    assert set(UNITS) == set(Costs.__struct_fields__)


def test_docs_equal_the_files():
    text = (DOCS / "targets.md").read_text()
    assert with_list(text) == text, RUN
    assert {path.name: path.read_text() for path in (DOCS / "chips").iterdir()} == pages(), RUN


def test_prose_of_the_docs_is_wrapped():
    for path in (DOCS / "targets.md", *(DOCS / "chips").iterdir()):
        assert all(len(line) <= 120 or line.startswith("|") for line in path.read_text().splitlines()), path.name
