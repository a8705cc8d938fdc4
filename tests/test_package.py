"""The wheel holds the whole package, and runs a program where nothing but what it declares is installed."""

import ast
import os
import subprocess
import sys
import venv
import zipfile
from importlib import import_module, metadata
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pytest
from packaging.requirements import Requirement

import hmdf
from hmdf import moved

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hmdf"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, since setuptools keeps in `build/` what an older tree had."""
    tree, out = (tmp_path_factory.mktemp(name) for name in ("tree", "wheel"))
    others = ("build", "runs", "tests", "docs", "examples", "benchmarks", "experiments", "*.egg-info", "__pycache__")
    copytree(ROOT, tree, symlinks=True, ignore=ignore_patterns(".?*", *others), dirs_exist_ok=True)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, capture_output=True)
    return next(out.iterdir())


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel, and with links to what it requires, directly or not."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for name in required(wheel):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            (packages / top).symlink_to(str(distribution.locate_file(top)))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    return folder


def required(wheel: Path) -> set[str]:
    """Names of all distributions that one without extras needs."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))).decode()
    wanted, found = metadata.PathDistribution.from_name, set()
    todo = [line.removeprefix("Requires-Dist: ") for line in text.splitlines() if line.startswith("Requires-Dist: ")]
    while todo:
        requirement = Requirement(todo.pop())
        if requirement.name not in found and (not requirement.marker or requirement.marker.evaluate({"extra": ""})):
            found.add(requirement.name)
            todo += wanted(requirement.name).requires or []
    return found


def test_the_wheel_has_every_file_of_the_package(wheel):
    """Modules and data of all folders, py.typed among them."""
    source = set()
    for folder in (PACKAGE, *(link.resolve() for link in PACKAGE.iterdir() if link.is_symlink())):
        name = "hmdf" if folder == PACKAGE else f"hmdf/{folder.name}"
        files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        source |= {f"{name}/{path.as_posix()}" for path in files if "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == source
    assert "hmdf/py.typed" in source


def test_wheel_and_citation_have_the_version(wheel):
    assert wheel.name.startswith(f"hmdf-{hmdf.__version__}-")
    assert f"\nversion: {hmdf.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_it_runs_a_program_without_torch(environment, tmp_path):
    python = environment / "bin" / "python"
    torch = subprocess.run([python, "-c", "import torch"], cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'torch'" in torch.stderr
    path = ROOT / "examples" / "nmnist-vggsnnw16.hmdf"
    program = hmdf.load(path)
    data = tmp_path / "data.npz"
    samples = np.random.default_rng(0).integers(0, 4, (5, program.time_steps, *program.input.shape), dtype=np.uint8)
    np.savez(data, images=samples, labels=np.zeros(5, np.int64))
    command = [environment / "bin" / "hmdf-sim", path, "--data", data, "--verify", "reference"]
    quick = os.environ | {"NUMBA_OPT": "0"}  # the kernels are compiled anew
    done = subprocess.run(command, cwd=tmp_path, env=quick, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "bit exact: yes" in done.stdout


@pytest.mark.parametrize("former", moved.MODULES)
def test_former_names_of_modules_work_and_warn(former, monkeypatch):
    if "triton" in moved.MODULES[former]:
        pytest.importorskip("triton")
    monkeypatch.delitem(sys.modules, f"hmdf.{former}", raising=False)
    successor = import_module(f"hmdf.{moved.MODULES[former]}")
    with pytest.warns(DeprecationWarning, match=f"now {successor.__name__}$"):
        module = import_module(f"hmdf.{former}")
    public = {name for name in vars(successor) if not name.startswith("_")}
    assert public
    assert all(getattr(module, name) is getattr(successor, name) for name in public)
    for name, now in moved.NAMES.get(former, {}).items():
        assert getattr(module, name) is getattr(successor, now)


def test_the_former_command_of_compile_works_and_warns():
    with pytest.warns(DeprecationWarning, match=r"now hmdf\.compile"), pytest.raises(TypeError, match="example_input"):
        hmdf.compile_network(None)


def test_type_checkers_see_the_names_that_python_loads():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    seen = {
        alias.asname: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == hmdf._MODULES
    assert all(hasattr(hmdf, name) for name in hmdf.__all__)


def test_without_advisories_the_audit_says_that_nothing_was_audited():
    nowhere = {**os.environ, "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    done = subprocess.run([sys.executable, ROOT / ".ci/audit.py"], env=nowhere, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("nothing was audited: no advisories at https://")
