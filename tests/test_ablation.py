"""The ablation's runner, with one small row on digits: run, kept, not run again, refused with another budget."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

ROOT = Path(__file__).parents[1]
BUDGET = "--data digits --net small --width 4 --time-steps 2 --epochs 1 --batch-size 32 --samples 64 --test-samples 64"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from experiments.ablation import __main__ as ablation

    def invoke(*arguments: str, budget: str = BUDGET) -> Result:
        return CliRunner().invoke(ablation.main, [*budget.split(), "--rows", "base", "--seeds", "1", *arguments])

    return invoke


def test_a_run_is_kept_and_tabulated(tmp_path, run):
    out = tmp_path / "kept"
    done = run("--out", str(out))
    assert done.exit_code == 0, done.output
    record = json.loads((out / "base-0.json").read_text())
    assert record["test_samples"] == record["integer_samples"] == record["training_samples"] == 64
    # the papers' convention: 4.6 pJ for each MAC and 0.9 pJ for each SOP, but pools, which have no weights, are free
    assert 0 < record["energy_pj"] <= 4.6 * record["macs"] + 0.9 * record["sops"]
    assert record["seconds_per_epoch"] > 0
    assert (out / "figure3.svg").exists()

    again = run("--out", str(out), "--markdown")
    assert again.exit_code == 0, again.output
    assert "begun" not in again.output
    assert "| base | 1 |" in again.output
    summary = json.loads((tmp_path / "kept.json").read_text())
    assert summary["rows"]["base"]["values"]["sops"]["by_seed"] == [record["sops"]]

    other = run("--out", str(out), budget=BUDGET.replace("--width 4", "--width 5"))
    assert other.exit_code == 2
    assert "width 4, now 5" in other.output


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_every_row_can_be_trained(optimizer, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from experiments.ablation.rows import ROWS, Budget
    from hmdf.train.config import TrainingConfig
    from hmdf.train.data import load
    from hmdf.train.launch import check_fit
    from hmdf.train.networks import NetworkSpec

    budget, digits = Budget(data="digits", net="small", optimizer=optimizer), load("digits", "train")
    for row in ROWS:
        spec = NetworkSpec(input_shape=digits.input_shape, classes=10, **budget.network(row))
        check_fit(spec, TrainingConfig(**budget.training(row, 0)), digits, digits)
