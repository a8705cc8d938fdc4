"""A .hmdf file runs where nothing but the core dependencies is installed, and importing hmdf costs nothing."""

import subprocess
import sys

import pytest

from .conftest import ENVIRONMENT

HEAVY = ("torch", "lightning", "lightning_fabric", "numba", "onnx", "onnxruntime", "lava", "sklearn", "PIL")
BLOCK = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""
SIM = """
sys.argv = ["hmdf-sim", *sys.argv[1:]]
from hmdf.tools.sim import main
main()
"""
WITHOUT_EXTRAS = BLOCK.format(missing=tuple(name for name in HEAVY if name != "numba"))


def python(code: str, *arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)


@pytest.mark.parametrize("module", ["hmdf", "hmdf.sim.program", "hmdf.sim.storage", "hmdf.hw_targets.target"])
def test_importing_loads_nothing_heavy(module):
    done = python(f"import {module}, sys; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("command", ["train", "compile", "sim"])
def test_help_loads_no_torch(command):
    code = f"""
import sys, atexit
atexit.register(lambda: print([m for m in ("torch", "onnx", "lava") if m in sys.modules]))
sys.argv = ["hmdf-{command}", "--help"]
from hmdf.tools.{command} import main
main()
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")


def test_hmdf_sim_runs_without_torch(demo, tmp_path):
    out = tmp_path / "out.json"
    done = python(WITHOUT_EXTRAS + SIM, demo.program, "--data", demo.data, "--verify", "reference", "--json", out)
    assert done.returncode == 0, done.stderr
    assert "bit exact: yes" in done.stdout
    assert out.exists()


def test_what_is_missing_is_named(demo):
    done = python(WITHOUT_EXTRAS + SIM, demo.program, "--data", demo.data, "--against", demo.model)
    assert done.returncode == 3
    assert done.stderr == "error: this needs torch, which is not installed: pip install 'hmdf[train]'\n"


def test_the_api_loads_and_simulates_without_torch(demo):
    code = (
        "import hmdf, numpy as np\n"
        "program = hmdf.load(sys.argv[1])\n"
        "x = np.zeros((2, *program.input.shape))\n"
        "print(hmdf.simulate(program, x).logits.shape, 'torch' in sys.modules)\n"
    )
    done = python(WITHOUT_EXTRAS + code, demo.program)
    assert done.stdout == "(2, 10) False\n", done.stderr
