"""The house stands: a room imports only from lower floors, and the light rooms import nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "train": set(),
    "sim": set(),
    "hw_targets": {"sim"},
    "export": {"sim", "train", "hw_targets"},
    "tools": {"sim", "train", "hw_targets", "export"},
}
HEAVY = {"torch", "onnx", "onnxruntime", "lava", "lightning", "matplotlib", "sklearn", "kornia"}


def imports(path: Path) -> set[str]:
    """Absolute names of everything that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_from_lower_floors(room):
    files = [p for p in (ROOT / room).rglob("*.py") if "template" not in p.parts]
    assert files
    for path in files:
        rooms = {name.split(".")[1] for name in imports(path) if name.startswith("hmdf.")}
        assert rooms <= ALLOWED[room] | {room, "extras"}, f"{path.relative_to(ROOT)} imports {rooms}"


@pytest.mark.parametrize("room", ["sim", "hw_targets"])
def test_the_rooms_of_a_deployment_engineer_name_nothing_heavy(room):
    for path in (ROOT / room).rglob("*.py"):
        heavy = {name.split(".")[0] for name in imports(path)} & HEAVY
        assert not heavy, f"{path.relative_to(ROOT)} imports {heavy}"


@pytest.mark.parametrize(
    "module", ["hmdf", "hmdf.sim.program", "hmdf.train.data", "hmdf.hw_targets.judge.fit", "hmdf.tools.sim"]
)
def test_importing_it_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(' '.join(sorted(set(sys.modules) & {HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
