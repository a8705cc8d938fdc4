"""The notebooks of docs/notebooks run from the first cell to the last, and what they show is there."""

import ast
import json
from pathlib import Path

import pytest
import torch

import hmdf

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"


def run(name):
    """The names that a notebook's cells leave, and what each cell shows: the value of its last expression."""
    document = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    names, shown = {"__name__": "__main__"}, []
    for cell in document["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), name, "eval"), names))
    return names, shown


@pytest.fixture(autouse=True)
def one_thread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_from_pytorch_to_chip(tmp_path):
    names, shown = run("from-pytorch-to-chip")
    assert names["result"].accuracy > 0.5
    tables = [value._repr_html_() for value in shown if hasattr(value, "_repr_html_")]
    assert len(tables) == 2
    assert all("block.act1" in table for table in tables)
    assert hmdf.load(tmp_path / "model.hmdf").sha256 == names["program"].sha256
    assert (tmp_path / "model.onnx").stat().st_size > 0
    assert (tmp_path / "c" / "model.c").is_file()


def test_bring_your_own_network(capsys):
    names, _ = run("bring-your-own-network")
    said = capsys.readouterr().out
    assert "activation" in said
    assert "Intel Loihi 2 fits" in said
    assert names["compilation"].fits
