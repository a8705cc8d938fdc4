"""Checks of the source's structure, by its syntax tree: each takes the source files and returns what breaks a rule."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import get_args

from hmdf.sim.contract import Dynamics, Gate, Op, Port
from hmdf.sim.contract.parameters import kinds_of
from hmdf.sim.kernels.paths import PATHS

ROOT = Path(__file__).parent.parent
ALLOWED: dict[str, set[str]] = {
    "train": set(),
    "sim": set(),
    "hw_targets": {"sim"},
    "export": {"sim", "train", "hw_targets"},
    "tools": {"sim", "train", "hw_targets", "export"},
}
"""What each package may import of the others."""
HEAVY = ("torch", "onnx", "onnxruntime", "lava", "lightning", "matplotlib", "sklearn", "kornia")
SAME_ON_PURPOSE = {"Preprocessing"}
"""The same four numbers of a data set in a checkpoint and in a Program: neither of the two may import the other."""
DYNAMICS = {kind.__name__: str(kind.__struct_config__.tag) for kind in get_args(Dynamics)}
OPS = {kind.__name__: str(kind.__struct_config__.tag) for kind in get_args(Op)}
PATH_FILES, SHARED_BY_PATHS = "sim/kernels/paths/", {"__init__", "path", "loops", "event_loops", "tables"}
TYPED_FIELDS = {name for part in (*get_args(Dynamics), Port, Gate) for name in kinds_of(part)}

Sources = dict[str, str]


def sources() -> Sources:
    """Every Python file of the packages by its path; what a Lava bundle carries is no part of hmdf's own imports."""
    files = [p for package in ("hmdf", *ALLOWED) for p in (ROOT / package).rglob("*.py")]
    return {str(p.relative_to(ROOT)): p.read_text() for p in files if "template" not in p.parts}


@cache  # every rule reads every file
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


@cache
def nodes_of(source: str) -> list[ast.AST]:
    return list(ast.walk(parsed(source)))


def module_of(path: str) -> str:
    """ "sim/kernels/plan.py" -> "hmdf.sim.kernels.plan"."""
    parts = Path(path).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "hmdf" else ("hmdf", *parts))


def imports(path: str, source: str, for_types: bool = True) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that a file imports, wherever in it; name is "" for `import module`."""
    package = module_of(path).split(".")
    package = package if Path(path).name == "__init__.py" else package[:-1]
    skipped: set[ast.AST] = set()
    for node in nodes_of(source):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not for_types:
            skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def circles(files: Sources) -> list[str]:
    """Modules that import each other, directly or not; imports for types alone do not count."""
    known = {module_of(path) for path in files}
    graph: dict[str, set[str]] = {}
    for path, source in files.items():
        found = set()
        for module, name in imports(path, source, for_types=False):
            found |= {f"{module}.{name}"} & known or {module} & known
        graph[module_of(path)] = found - {module_of(path)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def named_kinds(files: Sources) -> list[str]:
    """Where a kind of neuron is asked for, by its class or by its name, outside its contract and its lowerings: in
    `isinstance`, `type(x) is`, `case`, a comparison, or as the key of a table."""
    found = []
    for path, source in files.items():
        if is_of_a_kind(path):
            continue
        for node in nodes_of(source):
            asked: list[ast.expr] = []
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
                asked = node.args[1:]
            elif isinstance(node, ast.MatchClass):
                asked = [node.cls]
            elif isinstance(node, ast.Compare):
                asked = [node.left, *node.comparators]
            elif isinstance(node, ast.MatchValue):
                asked = [node.value]
            elif isinstance(node, ast.Dict):
                asked = [key for key in node.keys if key is not None]
            names = {n.id for e in asked for n in ast.walk(e) if isinstance(n, ast.Name)}
            names |= {n.attr for e in asked for n in ast.walk(e) if isinstance(n, ast.Attribute)}
            text = {n.value for e in asked for n in ast.walk(e) if isinstance(n, ast.Constant)}
            kinds = (names | text) & set(DYNAMICS) | text & set(DYNAMICS.values())
            found += [f"{path}:{getattr(node, 'lineno', 0)} asks for {name}" for name in sorted(kinds)]
    return found


def named_paths(files: Sources) -> list[str]:
    """What the kernels know of one processor outside that path's own file: its class is named elsewhere, or it has no
    file. Its helpers may be used."""
    classes = {type(path).__name__: f"{PATH_FILES}{name}.py" for name, path in PATHS.items()}
    found = [f"{path} is no path" for path in files if path.startswith(PATH_FILES)
             and Path(path).stem not in {*PATHS, *SHARED_BY_PATHS}]  # fmt: skip
    found += [f"{name} has no file {home}" for name, home in classes.items() if home not in files]
    for path, source in files.items():
        if path.startswith("sim/kernels/") and path != f"{PATH_FILES}__init__.py":
            names = {n.id for n in nodes_of(source) if isinstance(n, ast.Name)}
            names |= {n.attr for n in nodes_of(source) if isinstance(n, ast.Attribute)}
            found += [f"{path} asks for {name}" for name in sorted(names & set(classes)) if classes[name] != path]
    return found


def is_of_a_kind(path: str) -> bool:
    """Whether a file is the contract, or in a folder that has one for each kind."""
    folders = (
        *LOWERINGS.values(),
        "sim/contract",
        "export/neurons",
        "export/nir/neurons",
        "export/c/ops",
        "train/neurons",
    )
    return path.startswith(tuple(f"{folder}/" for folder in folders))


def compared_names(files: Sources) -> list[str]:
    """Where a fact about a parameter is taken from its name: a comparison with the name of a field of the contract."""
    found = []
    for path, source in files.items():
        if path.startswith(("train/", "tools/")):  # they have fields of their own by the same names
            continue
        for node in nodes_of(source):
            sides: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
            elif isinstance(node, ast.MatchValue):
                sides = [node.value]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                sides = node.args if node.func.attr in ("startswith", "endswith", "find", "count") else []
            text = {n.value for side in sides for n in ast.walk(side) if isinstance(n, ast.Constant)}
            found += [f"{path} compares with '{name}'" for name in sorted(TYPED_FIELDS & text)]
    return found


def upward_imports(files: Sources) -> list[str]:
    """Imports of a package from one that it must not know."""
    found = []
    for path, source in files.items():
        package = path.split("/")[0]
        used = {module.split(".")[1] for module, _ in imports(path, source) if module.startswith("hmdf.")}
        found += [f"{path} imports {other}" for other in used - ALLOWED.get(package, used) - {package, "extras"}]
    return found


def heavy_imports(files: Sources) -> list[str]:
    """Heavy packages that `sim` and `hw_targets` name, where a deployment engineer has none of them."""
    light = {path: source for path, source in files.items() if path.startswith(("sim/", "hw_targets/"))}
    return [f"{path} imports {m}" for path, s in light.items() for m, _ in imports(path, s) if m.split(".")[0] in HEAVY]


def foreign_imports(files: Sources) -> list[str]:
    """What the contract imports beyond NumPy and msgspec, and what a back end imports of another one."""
    found = []
    for path, source in files.items():
        for module, name in imports(path, source):
            if path.startswith("sim/contract/"):
                own = module.startswith("hmdf.sim.contract") or module in ("hmdf.sim.arithmetic", "hmdf.sim.errors")
                if not own and module.split(".")[0] not in {"numpy", "msgspec", *sys.stdlib_module_names}:
                    found.append(f"{path} imports {module}")
            home, other = back_end(path), back_end(module.removeprefix("hmdf.").replace(".", "/") + "/")
            if home and other and home != other:
                found.append(f"{path} imports {name or module} of {other}")
    return found


BACK_ENDS = ("sim/kernels", "export/onnx", "export/lava", "export/c")
LOWERINGS = {
    "numba": "sim/kernels/neurons",
    "onnx": "export/onnx/dynamics",
    "lava": "export/lava/template/hmdf_lava/processes",
    "c": "export/c/dynamics",
}
"""Where each executor has its file for a kind of neuron. The compiler has one for what can be trained, or
refuses it with a finding (tests/export/test_trace.py)."""


def back_end(path: str) -> str:
    return next((b for b in BACK_ENDS if path.startswith(f"{b}/")), "")


def borrowed_definitions(files: Sources) -> list[str]:
    """Where a back end calls the contract's own arithmetic: then agreement with the reference would mean nothing."""
    found = []
    for path, source in files.items():
        for node in nodes_of(source):
            called = node.func if back_end(path) and isinstance(node, ast.Call) else None
            defined = isinstance(called, ast.Attribute) and called.attr in ("accumulate", "step")
            if called is not None and defined and ast.unparse(called) != "events.accumulate":
                found.append(f"{path}:{called.lineno} calls {ast.unparse(called)}")
            owner = node.value if back_end(path) and isinstance(node, ast.Attribute) else None
            kind = owner.id if isinstance(owner, ast.Name) else ""
            if kind in {*DYNAMICS, *OPS} and node.attr in ("accumulate", "step", "bounds"):
                found.append(f"{path}:{node.lineno} takes {kind}.{node.attr}")
        if back_end(path):
            borrowed = ("hmdf.sim.reference", "hmdf.sim.contract.neurons")
            found += [f"{path} imports {m}" for m, _ in imports(path, source) if m in borrowed]
            rounding = [n for m, n in imports(path, source) if m == "hmdf.sim.arithmetic" and n in ("rshift", "clamp")]
            found += [f"{path} imports {name} of the reference" for name in rounding]
    return found


def shared_names(files: Sources) -> list[str]:
    """Public classes of one name in two files. A kind has the same name in each back end: that is the rule, not a
    violation of it."""
    homes = defaultdict(set)
    for path, source in files.items():
        for node in nodes_of(source):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(path)
    known = {*DYNAMICS, *OPS, *SAME_ON_PURPOSE}
    return [f"{name}: {', '.join(sorted(p))}" for name, p in sorted(homes.items()) if len(p) > 1 and name not in known]


def missing_lowerings(files: Sources) -> list[str]:
    """Kinds of neurons without a file in a back end."""
    wanted = [f"{folder}/{kind}.py" for folder in LOWERINGS.values() for kind in DYNAMICS.values()]
    return [path for path in wanted if path not in files and not (ROOT / path).exists()]


def loose_documents(files: Sources) -> list[str]:
    """Where the tools write or read JSON without the struct that says what is in it."""
    found = []
    for path, source in files.items():
        if not path.startswith("tools/") or path.startswith("tools/documents/"):
            continue
        found += [
            f"{path} imports {name} of json" for module, name in imports(path, source) if module == "json" and name
        ]
        for node in nodes_of(source):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                kinds = [ast.unparse(word.value) for word in node.keywords if word.arg == "type"]
                untyped = called == "msgspec.json.decode" and kinds in ([], ["dict"], ["Any"])
                untyped |= called == "msgspec.json.encode" and isinstance(node.args[0], ast.Dict)
                if untyped or called.startswith(("json.dump", "json.load")):
                    found.append(f"{path}:{node.lineno} calls {called}")
    return found
