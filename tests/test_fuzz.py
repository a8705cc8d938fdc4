"""Every reader meets its corpus and some mutations of it with nothing but clear errors; `make fuzz` goes on from there.

What `make fuzz` found lies in `fuzz_corpus` as finding-*, beside one sound file or more.
"""

import random
from pathlib import Path

import pytest

import fuzz_readers
from fuzz_readers import CLEAR, CORPUS, READERS, Finding, check, scrambled

MUTATIONS = {"commands": 6, "checkpoint": 20, "document": 20, "nir": 3}


@pytest.fixture(autouse=True)
def programs_are_not_run(monkeypatch):
    """The kernels take long to compile; make fuzz runs what loads."""
    monkeypatch.setattr(fuzz_readers, "MOST_WORK", 0)


@pytest.mark.parametrize("name", READERS)
def test_the_corpus_and_mutations_of_it(name, tmp_path):
    files = sorted((CORPUS / name).iterdir())
    for file in files:
        refused = check(name, file.read_bytes(), tmp_path)
        assert file.name.startswith("finding-") or not refused, refused
    rng = random.Random(name)
    for _ in range(MUTATIONS.get(name, 50)):
        content = rng.choice(files).read_bytes()
        check(name, READERS[name].mutate(content, rng, lambda data: scrambled(data, rng)), tmp_path)


def test_mutations_reach_behind_the_checksums(tmp_path):
    rng, reasons = random.Random(0), set()
    content = (CORPUS / "hmdf" / "small.hmdf").read_bytes()
    for _ in range(200):
        refused = check("hmdf", READERS["hmdf"].mutate(content, rng, lambda data: scrambled(data, rng)), tmp_path)
        reasons.add(refused.partition("not a readable program: ")[2][:20])
    assert "" in reasons  # some are still programs
    assert len(reasons) > 12


@pytest.mark.parametrize(
    ("error", "finding"),
    [
        (CLEAR[0]("file.bin: no"), ""),
        (CLEAR[0]("no"), "does not name the file"),
        (AttributeError("x"), "AttributeError: x"),
        (MemoryError(), "MemoryError"),
        (SystemExit(1), "SystemExit: 1"),
    ],
)
def test_what_a_finding_is(error, finding, tmp_path, monkeypatch):
    def read(path: Path) -> None:
        raise error

    monkeypatch.setitem(READERS, "bin", READERS["bin"]._replace(read=read))
    if not finding:
        assert check("bin", b"", tmp_path) == str(error)
    else:
        with pytest.raises(Finding, match=finding):
            check("bin", b"", tmp_path)
