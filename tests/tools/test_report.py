"""hmdf-report: what it says follows from what was measured, whatever the target; names are text; errors are clear."""

import base64
import copy
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdf.hw_targets.target import target_names
from hmdf.sim import storage
from hmdf.tools.documents.report import Report
from hmdf.tools.reporting.html.markup import Markup, el, png
from hmdf.tools.reporting.html.page import page as drawn
from hmdf.tools.reporting.markdown import markdown
from hmdf.tools.text import count, duration, energy, percent, size

from .conftest import run

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;|`'
PREFIXES = {
    f"{prefix}{unit}": factor
    for unit in "Js"
    for prefix, factor in (("", 1), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9), ("p", 1e-12))
}
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "M": 1e6, "dB": 1, "": 1}


@pytest.fixture(scope="session")
def build(demo, tmp_path_factory) -> Path:
    """A folder as hmdf-compile and hmdf-sim leave it."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copy(demo.program, folder)
    shutil.copy(demo.report, folder)
    measured = run(
        "sim", folder / "model.hmdf", "--data", demo.data, "--samples", 20, "--against", demo.model, "--verify",
        "reference", "--target", "loihi2,cmos45", "--json", folder / "out.json",
    )  # fmt: skip
    assert measured.code == 0, measured.err
    return folder


@pytest.fixture(scope="session")
def document(build) -> dict[str, Any]:
    written = run("report", build, "--format", "json", "-o", build / "report-document.json")
    assert written.code == 0, written.err
    return json.loads((build / "report-document.json").read_text())


def page(document: dict[str, Any]) -> str:
    """The page of a document as it was written: it is read back by the definition it was written by."""
    return drawn(msgspec.convert(document, Report))


def at(document: Any, pointer: str) -> Any:
    """What a JSON pointer leads to; written here again, apart from the code under test."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def read_back(text: str) -> float:
    """The number that a text shows, in its base unit (pJ and ns are shown as J and s)."""
    if text.endswith("%"):
        return float(text[:-1]) / 100
    figure, _, unit = text.partition(" ")
    return float(figure.replace(",", "")) * (PREFIXES.get(unit) or UNITS[unit])


class Reader(HTMLParser):
    """Tags, attributes and (value, pointer, text) of every number of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: tuple[str, str] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "data":
            self._open = (dict(attributes)["value"] or "", dict(attributes)["data-key"] or "")

    def handle_data(self, data):
        self.text += data
        if self._open is not None:
            self.numbers.append((*self._open, data))
            self._open = None


# ------------------------------------------------------------------------------- numbers


def test_every_number_of_the_page_is_that_of_the_document(document):
    numbers = Reader(page(document)).numbers
    assert len(numbers) > 150
    for value, pointer, text in numbers:
        stated = at(document, pointer)
        assert float(value) == stated, pointer
        unit = 1e-12 if text.endswith("J") else 1e-9 if text.endswith("s") and not text.endswith("SOPs") else 1
        assert read_back(text) == pytest.approx(stated * unit, rel=0.006, abs=5e-6), (pointer, text)
    shown = {pointer for _, pointer, _ in numbers}
    assert {"/accuracy/integer", "/accuracy/float", "/targets/0/energy_pj/typical", "/targets/0/latency_ns/typical",
            "/targets/0/memory_bytes", "/targets/0/cores", "/sops/per_sample"} <= shown  # fmt: skip


def test_costs_are_those_that_the_simulator_counted(document, build):
    document = copy.deepcopy(document)
    measured = json.loads((build / "out.json").read_text())
    rows = {row["target"]: row for row in document["targets"]}
    assert len(measured["targets"]) == 2
    for wanted in measured["targets"]:
        found = rows[wanted["target"]]
        for key in ("fits", "cores", "chips", "memory_bytes", "energy_status", "energy_missing", "energy_spread_pj"):
            assert found[key] == wanted[key]
        for key in ("energy_pj", "latency_ns"):
            assert found[key] == (wanted[key] and pytest.approx(wanted[key], rel=1e-12))
    found, wanted = (report["neurobench"] for report in (document, measured))
    assert found.pop("synaptic_operations") == pytest.approx(wanted.pop("synaptic_operations"))
    assert found == pytest.approx(wanted)
    for key in ("accuracy", "sops", "samples", "memory"):
        assert document[key] == measured[key]


def test_the_energy_of_the_layers_is_the_energy(document):
    row = document["targets"][0]
    parts = [layer["energy_pj"] for layer in document["layers"] if layer["energy_pj"]]
    parts += [end["energy_pj"] for end in document["ends"].values() if end["energy_pj"]]
    parts.append(row["energy_by_constant_pj"]["static_power"])
    for key in ("low", "typical", "high"):
        assert sum(part[key] for part in parts) == pytest.approx(row["energy_pj"][key])
        assert sum(e[key] for e in row["energy_by_constant_pj"].values()) == pytest.approx(row["energy_pj"][key])
    held = [layer["core_bytes"] for layer in (*document["layers"], *document["ends"].values()) if layer["core_bytes"]]
    assert sum(sum(purposes.values()) for purposes in held) == row["memory_bytes"]


def test_a_baseline_stands_beside_the_program(call, build, demo, tmp_path):
    shutil.copytree(build, tmp_path / "build")
    options = "--data", demo.data, "--samples", 20, "--baseline", build / "out.json"
    assert call("sim", build / "model.hmdf", *options, "--json", tmp_path / "build" / "out.json").code == 0
    assert call("report", tmp_path / "build", "--compare", "none", "-o", tmp_path / "page.html").code == 0
    measured = json.loads((tmp_path / "build" / "out.json").read_text())
    found = {pointer: float(value) for value, pointer, _ in Reader((tmp_path / "page.html").read_text()).numbers}
    assert found["/baseline/accuracy"] == measured["baseline"]["accuracy"]
    assert found["/baseline/energy_pj/typical"] == measured["baseline"]["energy_pj"]["typical"]
    assert found["/literature/energy_pj/typical"] == pytest.approx(measured["literature"]["energy_pj"]["typical"])


@pytest.mark.parametrize("name", target_names())
def test_every_target_can_be_the_one_reported_on(build, name, tmp_path):
    written = run("report", build, "--target", name, "--compare", "none", "-o", tmp_path / "page.html")
    assert written.code == 0, written.err
    reader = Reader((tmp_path / "page.html").read_text())
    titles = [attributes["id"] for tag, attributes in reader.tags if tag == "section"]
    fits = "Does not fit" not in reader.text
    assert ("findings" in titles) == (not fits)
    assert {"verdict", "layers", "targets", "network", "sample", "provenance", "constants"} <= set(titles)


def test_a_constant_is_shown_with_its_source_and_status(document):
    text = Reader(page(document)).text
    for fact in document["target"]["facts"]:
        assert fact["key"] in text
        assert fact["status"] in text
        assert document["targets"][0]["sources"][fact["source"]] in text
    hashes = [document["provenance"]["program_sha256"], *(file["sha256"] for file in document["provenance"]["files"])]
    assert all(digest in text for digest in (*hashes, document["provenance"]["measured"]["command"]))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.floats(1e-2, 1e15), st.floats(0, 1))
def test_a_number_is_shown_to_three_digits(value, share):
    assert read_back(energy(value)) == pytest.approx(value * 1e-12, rel=0.0051)
    assert read_back(duration(value)) == pytest.approx(value * 1e-9, rel=0.0051)
    assert read_back(size(round(value))) == pytest.approx(round(value), rel=0.0051)
    assert read_back(count(value)) == pytest.approx(value, rel=0.0051)
    assert read_back(percent(share)) == pytest.approx(share, abs=5.1e-5)


# ---------------------------------------------------------------------------------- form


def test_the_page_is_one_file_that_fetches_and_executes_nothing(document):
    text = page(document)
    assert len(text.encode()) < 2_000_000
    reader = Reader(text)
    for tag, attributes in reader.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "href"):
            assert attributes.get(key, "#").startswith(("#", "data:image/png;base64,"))
    assert "url(" not in text
    assert "@import" not in text


def test_names_are_text_and_never_markup(document):
    hostile = copy.deepcopy(document)
    hostile["title"] += HOSTILE
    hostile["program"] |= {
        "network": HOSTILE,
        "data_set": HOSTILE,
        "class_names": [HOSTILE] * 10,
        "compiled_for": HOSTILE,
    }
    hostile["notes"] = [HOSTILE]
    hostile["provenance"] |= {"calibration_data": HOSTILE, "source_sha256": HOSTILE}
    hostile["provenance"]["measured"] |= {"command": HOSTILE, "versions": {HOSTILE: HOSTILE}, "machine": HOSTILE}
    hostile["verify"] = {HOSTILE: hostile["verify"]["reference"]}
    hostile["target"] |= {"summary": HOSTILE}
    for row in hostile["targets"]:
        row |= {"title": HOSTILE, "sources": dict.fromkeys(row["sources"], HOSTILE)}
        for finding in row["findings"]:
            finding |= {"node": HOSTILE, "message": HOSTILE, "fix": HOSTILE, "needed": HOSTILE}
    for fact in hostile["target"]["facts"]:
        fact |= {"note": HOSTILE, "key": HOSTILE}
    found = Reader(page(hostile)).tags
    assert not [attributes for _, attributes in found if any(key.startswith("on") for key in attributes)]
    tags = [tag for tag, _ in found]
    assert sorted(set(tags)) == sorted({tag for tag, _ in Reader(page(document)).tags} | {"li", "ul"})
    assert "<script" not in page(hostile)
    assert tags.count("img") == [tag for tag, _ in Reader(page(document)).tags].count("img")
    for line in markdown(msgspec.convert(hostile, Report)).splitlines():
        assert "<script" not in re.sub(r"`[^`]*`", "", line.replace(r"\<", "").replace(r"\`", ""))


def test_an_element_escapes_what_is_not_markup():
    assert el("p", "<b>", Markup("<i></i>"), None, ["&", el("b", "x")], cls='"') == (
        '<p class="&quot;">&lt;b&gt;<i></i>&amp;<b>x</b></p>'
    )


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3), (2, 7, 4)])
def test_a_picture_is_a_real_png(shape):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    content = base64.b64decode(png(pixels).removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)


def test_markdown_has_the_numbers_and_whole_tables(build, document):
    written = run("report", build, "--format", "markdown", "--compare", "cmos45")
    assert written.code == 0
    assert f"| accuracy as integers | {percent(document['accuracy']['integer'])} |" in written.out
    tables = re.split(r"\n\n", written.out)
    for table in (part for part in tables if part.startswith("|")):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().splitlines()}) == 1


def test_the_compilers_own_numbers_do_as_well(build, document, tmp_path):
    """report.json has no accuracy, no verification and no sample: the page says so."""
    written = run("report", build, build / "report.json", "--compare", "none", "-o", tmp_path / "page.html")
    assert written.code == 0, written.err
    reader = Reader((tmp_path / "page.html").read_text())
    assert "not verified" in reader.text
    assert "not measured" in reader.text
    assert "sample" not in [attributes.get("id") for tag, attributes in reader.tags if tag == "section"]


# -------------------------------------------------------------------------------- errors


def changed(build: Path, folder: Path, **values: Any) -> Path:
    """A copy of the folder whose out.json has other values at dotted keys."""
    shutil.copytree(build, folder)
    content = json.loads((folder / "out.json").read_text())
    for key, value in values.items():
        *path, last = key.split("__")
        inner = content
        for part in path:
            inner = inner[int(part)] if isinstance(inner, list) else inner[part]
        inner[last] = value
    (folder / "out.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"program__sha256": "0" * 64}, "it is of another program (000000000000..."),
        ({"samples": "many"}, "`$.samples`"),
        ({"samples": 0}, "`$.samples`"),
        ({"sops__per_sample": -1.0}, "`$.sops.per_sample`"),
        ({"layers__0__name": "other"}, "its layers are not those of the program"),
        ({"layers__1__spikes_per_sample": None}, "is of another kind"),
        ({"sample__predicted": 10}, "key 'sample' does not fit the program"),
        ({"sample__logits_by_step": []}, "key 'sample' does not fit the program"),
        ({"sample__layers__0__map": [1]}, "key 'sample' does not fit the program"),
        ({"sample__picture__values": [256] * 64}, "key 'sample' does not fit the program"),
        ({"layers": []}, "its layers are not those of the program"),
    ],
)
def test_measurements_that_do_not_fit_the_program(call, build, tmp_path, values, message):
    folder = changed(build, tmp_path / "build", **values)
    outcome = call("report", folder, "-o", tmp_path / "page.html")
    assert outcome.code == 3
    assert outcome.err.startswith(f"error: {folder / 'out.json'}: ")
    assert message in outcome.err
    assert not (tmp_path / "page.html").exists()


def test_files_that_are_missing_or_cut(call, build, tmp_path):
    assert "model.hmdf: no such file" in call("report", tmp_path).err
    folder = tmp_path / "build"
    shutil.copytree(build, folder)
    (folder / "out.json").write_bytes((folder / "out.json").read_bytes()[:100])
    outcome = call("report", folder)
    assert outcome.code == 3
    assert "not written by this version of hmdf-sim --json" in outcome.err
    (folder / "out.json").unlink()
    outcome = call("report", folder)
    assert outcome.code == 3
    assert "out.json: No such file or directory; hmdf-sim --json writes such a file" in outcome.err


def test_a_target_that_only_the_user_has(call, build, tmp_path):
    program = storage.load(build / "model.hmdf")
    own = msgspec.structs.replace(program, metadata=msgspec.structs.replace(program.metadata, target="my_chip"))
    folder = changed(build, tmp_path / "build", program__sha256=own.sha256)
    (folder / "report.json").unlink()
    storage.save(own, folder / "model.hmdf")
    outcome = call("report", folder)
    assert outcome.code == 3
    assert "compiled for 'my_chip', which is not a shipped target: give its file as --target" in outcome.err
    assert call("report", folder, "--target", "loihi2", "--compare", "none", "-o", tmp_path / "page.html").code == 0
    assert call("report", folder, "--target", "lohi2").code == 3


def test_an_interrupted_write_leaves_the_old_page(call, build, tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("hmdf.sim.files.os.replace", fail)
    outcome = call("report", build, "--compare", "none", "-o", path)
    assert (outcome.code, outcome.err) == (3, f"error: {path}: No space left on device\n")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
