"""The runs of the papers: every row can be trained as it stands, and one on digits comes to a result."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hmdf.sim.errors import InputError
from hmdf.tools import compile, sim, train
from hmdf.train.config import config_names

ROOT = Path(__file__).parents[1]
ROW = """[[row]]
name = "{}"
source = "a test"
options = "--data {} --net small --width 4 --time-steps 2 --epochs 2"
hours = 0.1
processor_hours = 0.4
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


def rows_of(papers, tmp_path: Path, *rows: str):
    path = tmp_path / "rows.toml"
    path.write_text("".join(rows))
    return path


def test_every_row_can_be_planned_and_every_setting_has_a_row(papers):
    rows = papers.read_rows(papers.HERE / "rows.toml")
    configs = set()
    for row in rows:
        plan = papers.plan_of(row, Path("out"))
        assert plan.epochs >= 30
        assert plan.data.partition(":")[0] in papers.PUBLISHED
        assert plan.ann is None or plan.ann.parent.name in [other.name for other in rows]
        configs.add(row.options.split()[1])
    assert configs == set(config_names())
    first = [(row.printed, row.options.split()[1]) for row in rows[:4]]
    assert first == [
        (95.59, "resnet18-cifar10"),
        (None, "resnet18-cifar10"),
        (95.91, "resnet18-seca-cifar10"),
        (95.62, "lm-h-resnet18-cifar10"),
    ]


def test_a_row_is_trained_compiled_simulated_and_kept(papers, tmp_path, monkeypatch):
    monkeypatch.setattr(papers, "call", in_this_process)
    rows = rows_of(papers, tmp_path, ROW.format("large", "imagenet"), ROW.format("small", "digits"))
    kept = tmp_path / "kept.json"
    shared = ["--rows", str(rows), "--out", str(tmp_path / "out"), "--device", "cpu", "--results", str(kept)]
    shared += ["--samples", "100", "--data-root", str(tmp_path)]

    def done(*more: str) -> str:
        result = CliRunner().invoke(papers.main, [*shared, *more])
        assert result.exit_code == 0, result.output
        return result.output

    output = done("--epochs", "1")
    assert "large: passed over" in output
    assert "no imagenet here" in output
    [short] = json.loads(kept.read_text())
    assert (short["row"], short["epochs"], short["of_epochs"]) == ("small", 1, 2)
    assert 0 < short["integer_accuracy"] <= 100
    assert 0 < short["hm_df_sops"] < short["sops"]  # pools and the classifier are not counted
    assert short["hm_df_energy_pj"] == pytest.approx(short["hm_df_sops"] * 0.9 / 8)
    listed = done("--list")
    assert "1 of 2" in listed
    assert "hmdf-train" in listed

    assert "nothing to run: 1 rows lack something" in done("--epochs", "1")

    def whole(row, plan, folder, *_) -> object:
        assert folder == tmp_path / "out" / "small"  # the whole schedule is another run, from its beginning
        return papers.RowResult(**{**short, "epochs": plan.epochs})

    monkeypatch.setattr(papers, "run_row", whole)
    done()
    assert [result["epochs"] for result in json.loads(kept.read_text())] == [1, 2]
    assert "nothing to run" in done()


def test_a_row_without_all_of_its_data_or_its_ann_is_said(papers, tmp_path, monkeypatch):
    monkeypatch.setitem(papers.PUBLISHED, "digits", (10, 1_442, 356))
    papers.lacking_data.cache_clear()
    plan = papers.Plan("digits", 2, None)
    assert "10 classes, 1,442 + 355 samples; published are 10 classes, 1,442 + 356" in papers.lacking(plan, None)
    papers.lacking_data.cache_clear()
    assert "the row of its ANN comes first" in papers.lacking(papers.Plan("digits", 2, tmp_path / "model.pt"), None)
    rows = rows_of(papers, tmp_path, ROW.format("large", "imagenet"))
    with pytest.raises(InputError, match=r"large: .*no imagenet here"):
        papers.main.main(["--rows", str(rows), "--only", "large", "--data-root", str(tmp_path)], standalone_mode=False)


def test_the_line_before_the_training_of_a_converted_network_is_no_epoch(papers, tmp_path, monkeypatch):
    head = "epoch,test_accuracy,seconds\n"
    monkeypatch.setattr(papers, "call", lambda *_: None)
    (tmp_path / "metrics.csv").write_text(head + "".join(f"{epoch},0.5,3600\n" for epoch in (0, 1, 2)))
    [row] = papers.read_rows(rows_of(papers, tmp_path, ROW.format("a", "digits") + "compiled = false\n"))
    result = papers.run_row(row, papers.Plan("digits", 2, None), tmp_path, tmp_path, [], None, [], "cpu")
    assert (result.epochs, result.hours, result.float_accuracy) == (2, 3, 50)


def test_expected_hours_are_those_of_what_is_slower(papers, tmp_path):
    [row] = papers.read_rows(rows_of(papers, tmp_path, ROW.format("a", "digits")))
    assert [row.expected(workers) for workers in (0, 1, 2, 8)] == pytest.approx([0.5, 0.4, 0.2, 0.1])


def test_bad_rows(papers, tmp_path):
    rows = rows_of(papers, tmp_path, ROW.format("a", "digits") * 2)
    with pytest.raises(InputError, match="two rows are called a"):
        papers.read_rows(rows)
    rows.write_text("[[row]]\nname = 3\n")
    with pytest.raises(InputError, match=r"rows.toml: Expected `str`"):
        papers.read_rows(rows)
    with pytest.raises(click.BadParameter, match="no row is called nothing"):
        papers.main.main(["--only", "nothing"], standalone_mode=False)
