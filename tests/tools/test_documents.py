"""The code in README.md, docs/guide.md and docs/nir.md runs as it stands."""

import re
import shutil
import warnings
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def python_blocks(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


@pytest.fixture
def one_thread():
    """Small batches are slow on several threads, more so beside other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_readme(demo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build" / "demo").mkdir(parents=True)
    shutil.copy(demo.program, tmp_path / "build" / "demo" / "model.hmdf")
    namespace = {}
    for block in python_blocks("README.md"):
        exec(block, namespace)
    assert re.fullmatch(r"[\d.]+%, [\d,]+ SOPs per sample\n", capsys.readouterr().out)
    assert (tmp_path / "my.hmdf").exists()


def test_the_readme_names_options_that_exist(call):
    text = (ROOT / "README.md").read_text()
    for command in ("train", "compile", "sim"):
        help_text = call(command, "--help").out
        row = next(line for line in text.splitlines() if line.startswith(f"| `hmdf-{command}` |"))
        example = next(line for line in text.splitlines() if line.startswith(f"    hmdf-{command} "))
        for option in re.findall(r"--[a-z-]+", row + example):
            assert f"{option} " in help_text


def test_the_readme_names_networks_that_exist():
    from hmdf.train.networks import NETWORKS

    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `hmdf-train` |"))
    named = re.search(r"--net (`?[^;]*);", row)[1]
    assert set(re.findall(r"[a-z][a-z0-9-]+", named)) == set(NETWORKS)


def test_the_guide(one_thread, tmp_path, monkeypatch, call):
    """Network, training, compiling and verifying in Python, then the same network by hmdf-compile --network."""
    blocks = python_blocks("docs/guide.md")
    (tmp_path / "my_net.py").write_text(blocks[0])
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks:
        exec(block, namespace)
    assert namespace["result"].accuracy > 0.5
    assert namespace["comparison"].bit_exact
    options = ["--network", "my_net:build", "--calibration", "digits", "--emit", "hmdf", "--out", "build/my_net"]
    outcome = call("compile", "weights.pt", *options)
    assert outcome.code == 0, outcome.err
    outcome = call("sim", "build/my_net/model.hmdf", "--data", "digits", "--samples", "40", "--verify", "reference")
    assert outcome.code == 0, outcome.err
    assert "bit exact: yes" in outcome.out


def test_the_page_about_nir(one_thread, tmp_path, monkeypatch, call, capsys):
    """A network trained in snnTorch, exported by it, compiled in Python and from its file."""
    pytest.importorskip("snntorch", reason="snntorch is not installed: pip install --group dev")
    monkeypatch.chdir(tmp_path)
    namespace = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in python_blocks("docs/nir.md"):
            exec(block, namespace)
    assert namespace["result"].accuracy > 0.85
    assert (namespace["result"].predictions == namespace["expected"]).mean() >= 0.98
    command = re.search(r"^    hmdf-(compile) (model.nir .*)$", (ROOT / "docs" / "nir.md").read_text(), re.MULTILINE)
    outcome = call(command[1], *command[2].split(), "--samples", "64", "--emit", "hmdf")
    assert outcome.code == 0, outcome.err
    outcome = call("sim", "build/mine/model.hmdf", "--data", "digits", "--samples", "40", "--verify", "reference")
    assert outcome.code == 0, outcome.err
    assert "bit exact: yes" in outcome.out


def test_the_widths_of_the_guide(tmp_path):
    from hmdf.export.config import Config, load_config

    text = re.search(r"```toml\n(.*?)```", (ROOT / "docs" / "guide.md").read_text(), re.DOTALL)[1]
    (tmp_path / "widths.toml").write_text(text)
    assert load_config(tmp_path / "widths.toml") == Config(bits={"stem_norm": 12})
    shown = re.findall(r"^(\w+) = ", text.split("[bits]")[0], re.MULTILINE)
    assert [*shown, "bits"] == list(Config.__struct_fields__)


def test_the_findings_of_the_guide(call, tmp_path):
    (tmp_path / "bad_net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.act, self.head = torch.nn.GELU(), torch.nn.Linear(64, 10)\n"
        "    def forward(self, x):\n"
        "        x = self.head(torch.flatten(self.act(x), 1))\n"
        "        return x.softmax(1)\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    return Net()\n"
    )
    torch.save({"head.weight": torch.zeros(10, 64), "head.bias": torch.zeros(10)}, "bad.pt")
    outcome = call("compile", "bad.pt", "--network", "bad_net:build", "--calibration", "digits", "--check")
    assert outcome.code == 3
    assert outcome.err.splitlines()[:3] == [
        "error: the network cannot be compiled, 2 findings:",
        "  act (bad_net.py:7): GELU is not supported; replace it by a supported layer",
        "  Net (bad_net.py:8): operation 'softmax' is not supported; replace it by a supported one",
    ]
