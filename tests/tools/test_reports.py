"""out.json and report.json: the keys that others rely on, their types, and that docs/reports.md describes every one."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hmdf.sim import storage
from hmdf.tools.documents.files import read
from hmdf.tools.documents.keys import DOCUMENTS, described, refresh
from hmdf.tools.documents.run import Compiled, Simulated

ROOT = Path(__file__).parents[2]
NUMBER = (int, float)
FIXED: dict[str, tuple[type, ...]] = {
    "samples": (int,),
    "accuracy.float": (float, type(None)),
    "accuracy.integer": (float, type(None)),
    "accuracy.agreement": (float, type(None)),
    "sops.per_sample": NUMBER,
    "macs.per_sample": NUMBER,
    "memory.weight_bytes": (int,),
    "memory.total_bytes": (int,),
    "layers[].name": (str,),
    "layers[].kind": (str,),
    "layers[].shape": (list,),
    "layers[].bits": (int,),
    "layers[].sops_per_sample": (float, type(None)),
    "layers[].spike_density": (float,),
    "layers[].saturations": (int, type(None)),
    "program.sha256": (str,),
    "timing.seconds": (float,),
}
VERIFY = {"bit_exact": (bool,), "compared": (int,), "first_mismatch": (dict, type(None))}


@pytest.fixture(scope="module")
def report(demo) -> dict[str, Any]:
    return json.loads(demo.report.read_text())


@pytest.fixture
def out(call, demo, tmp_path) -> dict[str, Any]:
    outcome = call(
        "sim", demo.program, "--data", demo.data, "--samples", 20, "--against", demo.model, "--verify", "reference",
        "--target", "loihi2,cmos45", "--json", tmp_path / "out.json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return json.loads((tmp_path / "out.json").read_text())


def values(document: Any, path: str) -> list[Any]:
    """What stands at a path such as "layers[].name"; one value per element of a list."""
    found = [document]
    for key in path.split("."):
        found = [value[key.removesuffix("[]")] for value in found]
        if key.endswith("[]"):
            found = [element for value in found for element in value]
    return found


MAPS = {
    "verify": "EXECUTOR",
    "run.versions": "PACKAGE",
    "targets[].energy_by_layer_pj": "NODE",
    "targets[].energy_by_constant_pj": "CONSTANT",
    "targets[].memory_by_purpose": "PURPOSE",
    "slices[].bytes": "NAME",
    "core_use[].bytes": "NAME",
    "travel": "NAME",
}
"""Objects whose keys are names; docs/reports.md writes a word in capitals for them."""


def paths(document: Any, at: str = "") -> set[str]:
    """Paths of all values; objects and lists that are null or empty count as values."""
    if isinstance(document, dict) and document and set(document) != {"low", "typical", "high"}:
        inner = {f"{at}.{MAPS.get(at, key)}".removeprefix("."): value for key, value in document.items()}
        return set().union(*(paths(value, path) for path, value in inner.items()))
    if isinstance(document, list) and document and isinstance(document[0], dict):
        return set().union(*(paths(element, f"{at}[]") for element in document))
    return set() if at in MAPS else {at}


def check(document: dict[str, Any]) -> None:
    for path, types in FIXED.items():
        for value in values(document, path):
            assert isinstance(value, types), path
            assert not isinstance(value, bool), path
    for verdict in document["verify"].values():
        for key, types in VERIFY.items():
            assert isinstance(verdict[key], types)
    assert re.fullmatch("[0-9a-f]{64}", document["program"]["sha256"])


def test_out_json(out, demo):
    check(out)
    assert out["samples"] == 20
    assert list(out["verify"]) == ["reference"]
    assert all(0 <= out["accuracy"][key] <= 1 for key in ("float", "integer", "agreement"))
    assert out["program"]["sha256"] == storage.load(demo.program).sha256


def test_report_json(report, demo):
    check(report)
    assert report["verify"] == {}
    assert report["accuracy"] == {"float": None, "integer": None, "agreement": None}
    assert report["program"]["sha256"] == storage.load(demo.program).sha256


def test_the_numbers_agree_with_each_other(out, demo):
    program = storage.load(demo.program)
    layers = {layer["name"]: layer for layer in out["layers"]}
    assert list(layers) == [node.name for node in program.nodes]
    assert all(tuple(layer["shape"]) == program.shapes[name] for name, layer in layers.items())
    assert out["sops"]["per_sample"] == pytest.approx(sum(x["sops_per_sample"] or 0 for x in layers.values()))
    assert out["macs"]["per_sample"] == sum(x["macs_per_sample"] or 0 for x in layers.values())
    assert out["memory"]["weight_bytes"] == sum(x["weight_bytes"] or 0 for x in layers.values())
    assert 0 < out["memory"]["weight_bytes"] < out["memory"]["total_bytes"]
    assert all(0 <= layer["spike_density"] <= 1 for layer in layers.values())
    for layer in layers.values():
        if layer["saturations"] is not None:
            assert layer["saturations"] == layer["state_saturations"] + layer["message_saturations"]
            assert layer["state_can_saturate"] or layer["state_saturations"] == 0
            assert layer["message_can_saturate"] or layer["message_saturations"] == 0


def test_no_float_model_no_float_accuracy(call, demo, tmp_path):
    assert call("sim", demo.program, "--data", demo.data, "--samples", 3, "--json", "out.json").code == 0
    accuracy = json.loads((tmp_path / "out.json").read_text())["accuracy"]
    assert (accuracy["float"], accuracy["agreement"]) == (None, None)
    assert isinstance(accuracy["integer"], float)


@pytest.mark.parametrize("name", ["reports.md", "explore.md"])
def test_the_tables_of_the_documents_are_those_of_the_types(name):
    text = (ROOT / "docs" / name).read_text()
    assert refresh(text) == text, f"run: python -m hmdf.tools.documents.keys docs/{name}"


def test_every_type_has_its_table():
    tables = {
        **described((ROOT / "docs" / "reports.md").read_text()),
        **described((ROOT / "docs" / "explore.md").read_text()),
    }
    assert set(tables) == set(DOCUMENTS)
    told = tables["Simulated"] | tables["Compiled"]
    assert told == {field for kind in (Simulated, Compiled) for field in kind.__struct_fields__}


def test_what_is_written_is_what_is_read(out, report, demo, tmp_path):
    (tmp_path / "out.json").write_text(json.dumps(out | {"a_key_of_a_later_version": 1}))
    assert msgspec.json.decode(msgspec.json.encode(read(tmp_path / "out.json", Simulated))) == out
    assert msgspec.json.decode(msgspec.json.encode(read(demo.report, Compiled))) == report


def test_the_document_describes_every_key(out, report, demo):
    text = (ROOT / "docs" / "reports.md").read_text()
    mapping = json.loads((demo.report.parent / "mapping.json").read_text())
    keys = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(keys) == len(set(keys))
    found = paths(out) | paths(report) | paths(mapping)
    assert found <= set(keys)
    parents = {path.removesuffix("[]") for key in found for path in prefixes(key)}
    absent = {key for key in keys if key not in found | parents}
    occasional = (
        "verify.EXECUTOR.first_mismatch.",
        "targets[].findings[].",
        "targets[].constants[].",
        "targets[].footprint",
        "baseline.",
        "predictions[].",
    )
    assert {key for key in absent if not key.startswith(occasional)} == set()


def prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
