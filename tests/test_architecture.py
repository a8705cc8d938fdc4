"""Rules of the source's structure. Each is shown to notice a planted violation, so that silence means something."""

import subprocess
import sys

import architecture
import pytest
from architecture import HEAVY, sources

PLANTED = {
    architecture.upward_imports: ("sim/planted.py", "from hmdf.export.graph import LayerGraph"),
    architecture.heavy_imports: ("hw_targets/planted.py", "def f():\n    import torch.nn"),
    architecture.circles: ("sim/arithmetic.py", "from .program import Program"),
    architecture.named_kinds: ("hw_targets/planted.py", "match n:\n    case HybridFiring(leak=leak):\n        pass"),
    architecture.foreign_imports: ("sim/contract/planted.py", "import numba"),
    architecture.borrowed_definitions: ("sim/kernels/planted.py", "y = population.dynamics.step(current, t, neurons)"),
    architecture.compared_names: ("hw_targets/planted.py", 'width = 24 if "bias" in what else 16'),
    architecture.shared_names: ("hw_targets/planted.py", "class Program:\n    pass"),
    architecture.loose_documents: ("tools/planted.py", "import json\n\ntext = json.dumps({})"),
    architecture.named_paths: ("sim/kernels/planted.py", "pixels = 6 if isinstance(path, Avx2) else 8"),
}
MORE_VIOLATIONS = [
    (architecture.named_kinds, "tools/planted.py", "leaky = isinstance(n.dynamics, contract.LeakyIntegrateAndFire)"),
    (architecture.named_kinds, "tools/planted.py", "states = 2 if type(n.dynamics) is MultiHierarchical else 1"),
    (architecture.named_kinds, "hw_targets/planted.py", "states = {HybridFiring: 1}[type(n.dynamics)]"),
    (architecture.named_kinds, "hw_targets/planted.py", 'leaky = n.dynamics.kind() == "hybrid_firing"'),
    (architecture.named_kinds, "hw_targets/planted.py", 'leaky = type(d).__name__ in ("HybridFiring",)'),
    (architecture.named_kinds, "hw_targets/relay.py", "leaky = isinstance(n.dynamics, HybridFiring)"),
    (architecture.compared_names, "hw_targets/planted.py", 'match what:\n    case "threshold":\n        pass'),
    (architecture.compared_names, "hw_targets/planted.py", 'wide = what.startswith("bias")'),
    (architecture.borrowed_definitions, "export/onnx/planted.py", "f = HybridFiring.step"),
    (architecture.borrowed_definitions, "sim/kernels/planted.py", "from ..arithmetic import rshift"),
    (architecture.loose_documents, "tools/planted.py", "from json import dumps"),
    (architecture.loose_documents, "tools/planted.py", 'import msgspec\n\nmsgspec.json.encode({"a": 1})'),
    (architecture.loose_documents, "tools/planted.py", "import msgspec\n\nmsgspec.json.decode(x, type=dict)"),
    (architecture.foreign_imports, "export/onnx/planted.py", "from ..lava.wiring import wire"),
    (architecture.foreign_imports, "sim/contract/planted.py", "from ..program import Program"),
    (architecture.borrowed_definitions, "export/onnx/planted.py", "from hmdf.sim.reference import run"),
    (architecture.named_paths, "sim/kernels/events.py", "share = 0.05 if path.instance_class is amx.Amx else 0.25"),
    (architecture.named_paths, "sim/kernels/paths/planted.py", ""),
    (architecture.circles, "sim/contract/struct.py", "def f():\n    from .population import Population"),
]


@pytest.mark.parametrize("check", PLANTED, ids=lambda check: check.__name__)
def test_the_rule_holds(check):
    assert check(sources()) == []


@pytest.mark.parametrize(
    ("check", "path", "text"), [*((c, *planted) for c, planted in PLANTED.items()), *MORE_VIOLATIONS]
)
def test_a_violation_is_noticed(check, path, text):
    files = sources()
    found = check(files | {path: text + "\n" + files.get(path, "").replace("from __future__ import annotations", "")})
    assert found, f"{check.__name__} does not see it"


def test_each_kind_of_neuron_has_a_file_in_each_back_end():
    assert architecture.missing_lowerings(sources()) == []


def test_a_kind_without_a_file_is_noticed(monkeypatch):
    monkeypatch.setitem(architecture.DYNAMICS, "Planted", "planted")
    assert len(architecture.missing_lowerings(sources())) == len(architecture.LOWERINGS)


@pytest.mark.parametrize(
    "module", ["hmdf", "hmdf.sim.program", "hmdf.train.data", "hmdf.hw_targets.judge.fit", "hmdf.tools.sim"]
)
def test_importing_it_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(' '.join(sorted(set(sys.modules) & {set(HEAVY)!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
