"""The runs of the papers: every row can be trained as it stands, and one on digits comes to a result."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hmdf.sim.errors import InputError
from hmdf.tools import compile, sim, train

ROOT = Path(__file__).parents[1]
ROWS = """[[row]]
name = "{}"
source = "a test"
options = "--data digits --net small --width 4 --time-steps 2 --epochs 2"
hours = 0.1
"""


@pytest.fixture
def papers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from experiments.papers import __main__

    return __main__


def in_this_process(tool: str, *arguments: str, allowed: tuple[int, ...] = (0,)) -> None:
    """As `call`, without the start of a process, which takes longer than the rest."""
    commands = {"train": train.train_command, "compile": compile.compile_command, "sim": sim.sim_command}
    done = CliRunner().invoke(commands[tool], arguments, catch_exceptions=False)
    assert done.exit_code in allowed, done.output


def test_every_row_has_options_that_hmdf_train_takes(papers):
    for row in papers.read_rows(papers.ROWS):
        with train.train_command.make_context("hmdf-train", [*row.options.split(), "--out", "x"]) as context:
            assert context.params["config"]


def test_a_row_is_trained_compiled_simulated_and_kept(papers, tmp_path, monkeypatch):
    monkeypatch.setattr(papers, "call", in_this_process)
    rows = tmp_path / "rows.toml"
    rows.write_text(ROWS.format("digits"))
    shared = ["--rows", str(rows), "--out", str(tmp_path / "out"), "--device", "cpu"]
    done = CliRunner().invoke(papers.main, [*shared, "--epochs", "1", "--samples", "100"])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out" / "digits" / "result.json").read_text())
    assert result["epochs"] == 1
    assert 0 < result["integer_accuracy"] <= 100
    assert result["sops"] > 0
    assert "digits" in CliRunner().invoke(papers.main, [*shared, "--list"]).output
    assert "every row is finished" in CliRunner().invoke(papers.main, shared).output


def test_bad_rows(papers, tmp_path):
    rows = tmp_path / "rows.toml"
    rows.write_text(ROWS.format("a") + ROWS.format("a"))
    with pytest.raises(InputError, match="two rows are called a"):
        papers.read_rows(rows)
    rows.write_text("[[row]]\nname = 3\n")
    with pytest.raises(InputError, match=r"rows.toml: Expected `str`"):
        papers.read_rows(rows)
    with pytest.raises(click.BadParameter, match="no row is called nothing"):
        papers.main.main(["--only", "nothing"], standalone_mode=False)
