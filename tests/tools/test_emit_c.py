"""C and golden vectors from the command line."""

import shutil

import pytest

from hmdf.export.c.executor import build, execute


def test_a_network_is_written_as_c_and_verified(demo, call, tmp_path):
    compiled = call("compile", demo.model, "--samples", "8", "--emit", "c,vectors", "--vectors", "1", "--out", tmp_path)
    assert compiled.code == 0, compiled.err
    assert (tmp_path / "vectors" / "manifest.json").is_file()
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    assert "test vector: the same" in execute([str(build(tmp_path / "c", "gcc", ("-std=c99", "-O1")))], 60)
    outcome = call("sim", demo.program, "--data", demo.data, "--samples", "4", "--verify", "reference,c")
    assert outcome.code == 0, outcome.err
    assert "bit exact: yes" in outcome.out


def test_without_a_compiler_verification_ends_with_one_error(demo, call, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    outcome = call("sim", demo.program, "--data", demo.data, "--samples", "1", "--verify", "c")
    assert outcome.code == 3
    assert "there is no C compiler" in outcome.err
