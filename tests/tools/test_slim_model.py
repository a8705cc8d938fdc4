"""``hmdf-slim``: the same program out of a small file."""

from pathlib import Path

import msgspec
import pytest

from hmdf.sim import storage
from hmdf.sim.program import Program
from hmdf.train import checkpoint


def compiled(call, model: Path, out: Path) -> Program:
    outcome = call("compile", model, "--samples", "64", "--emit", "hmdf", "--out", out)
    assert outcome.code == 0, outcome.err
    return storage.load(out / "model.hmdf")


def without_source(program: Program) -> Program:
    metadata = msgspec.structs.replace(program.metadata, source_sha256="")
    return msgspec.structs.replace(program, metadata=metadata)


def test_it_compiles_to_the_same_program(call, demo, tmp_path):
    outcome = call("slim", demo.model, "--out", tmp_path / "small")
    assert outcome.code == 0, outcome.err
    path = tmp_path / "small" / "model.pt"
    assert outcome.out.startswith(f"wrote {path}: ")
    assert outcome.out.endswith("it computes the same and cannot be resumed\n")
    full, slim = (compiled(call, model, tmp_path / model.parent.name) for model in (demo.model, path))
    assert full.metadata.source_sha256 != slim.metadata.source_sha256
    assert without_source(full).sha256 == without_source(slim).sha256
    outcome = call("sim", demo.program, "--data", demo.data, "--against", path)
    assert "is not the file that the program was compiled from" in outcome.out
    assert "same class" in outcome.out


def test_out_may_be_a_file_and_slim_twice_is_slim_once(call, demo, tmp_path):
    for source, name in ((demo.model, "one.pt"), (tmp_path / "one.pt", "two.pt"), (demo.model, "one.pt")):
        assert call("slim", source, "--out", tmp_path / name).code == 0
    assert (tmp_path / "one.pt").stat().st_size < demo.model.stat().st_size
    assert all(checkpoint.is_slim(tmp_path / name) for name in ("one.pt", "two.pt"))


def test_it_cannot_be_resumed(call, demo, tmp_path):
    assert call("slim", demo.model, "--out", tmp_path).code == 0
    before = (tmp_path / "model.pt").read_bytes()
    for name in ("model.pt", "resume.pt"):
        (tmp_path / name).write_bytes(before)
        outcome = call("train", "--data", "digits", "--resume", "--out", tmp_path)
        assert outcome.code == 3
        assert outcome.err.startswith(f"error: {tmp_path / name}: a slim checkpoint cannot be resumed")
        assert (tmp_path / "model.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["slim", "absent.pt", "--out", "x"], 3, "error: absent.pt: no such file"),
        (["slim", "MODEL", "--out", "MODEL"], 2, "would be replaced"),
        (["slim", "MODEL", "--out", "x", "--epochs", "2"], 2, "No such option"),
        (["train", "--data", "digits", "--out", "MODEL"], 2, "is a file; give a folder"),
        (["inspect", "MODEL", "--out", "MODEL"], 2, "is a file"),
    ],
)
def test_bad_usage(call, demo, options, code, message):
    outcome = call(*[str(demo.model) if option == "MODEL" else option for option in options])
    assert outcome.code == code
    assert message in outcome.err
    assert demo.model.exists()
