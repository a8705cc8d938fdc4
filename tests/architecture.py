"""Checks of the source's structure, by its syntax tree: each takes the source files and returns what breaks a rule."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import get_args

from hmdf.sim.contract import Dynamics, Gate, Op, Port
from hmdf.sim.contract.parameters import kinds_of

ROOT = Path(__file__).parent.parent
PACKAGES = ("train", "sim", "hw_targets", "export", "tools")
DYNAMICS = {kind.__name__: str(kind.__struct_config__.tag) for kind in get_args(Dynamics)}
OPS = {kind.__name__: str(kind.__struct_config__.tag) for kind in get_args(Op)}
TYPED_FIELDS = {name for part in (*get_args(Dynamics), Port, Gate) for name in kinds_of(part)}

Sources = dict[str, str]


def sources() -> Sources:
    """Every Python file of the packages by its path; what a Lava bundle carries is no part of hmdf's own imports."""
    files = [p for package in ("hmdf", *PACKAGES) for p in (ROOT / package).rglob("*.py")]
    return {str(p.relative_to(ROOT)): p.read_text() for p in files if "template" not in p.parts}


def module_of(path: str) -> str:
    """ "sim/kernels/plan.py" -> "hmdf.sim.kernels.plan". """
    parts = Path(path).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "hmdf" else ("hmdf", *parts))


def imports(path: str, source: str, for_types: bool = True) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that a file imports, wherever in it; name is "" for `import module`."""
    package = module_of(path).split(".")
    package = package if Path(path).name == "__init__.py" else package[:-1]
    tree = ast.parse(source)
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
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
    """Where `isinstance`, `type(x) is` or `case` names a kind of neuron outside its contract and its lowerings."""
    found = []
    for path, source in files.items():
        if is_of_a_kind(path):
            continue
        for node in ast.walk(ast.parse(source)):
            asked: list[ast.expr] = []
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
                asked = node.args[1:]
            elif isinstance(node, ast.MatchClass):
                asked = [node.cls]
            elif isinstance(node, ast.Compare) and "type(" in ast.unparse(node.left):
                asked = node.comparators
            names = {n.id for e in asked for n in ast.walk(e) if isinstance(n, ast.Name)}
            names |= {n.attr for e in asked for n in ast.walk(e) if isinstance(n, ast.Attribute)}
            found += [f"{path}:{node.lineno} asks for {name}" for name in sorted(names & set(DYNAMICS))]
    return found


def is_of_a_kind(path: str) -> bool:
    """Whether a file is the contract, or the one that a back end or the trainer has for a kind."""
    return path.startswith("sim/contract/") or Path(path).stem in {*DYNAMICS.values(), *OPS.values()}


def compared_names(files: Sources) -> list[str]:
    """Where a fact about a parameter is taken from its name: a comparison with the name of a field of the contract."""
    found = []
    for path, source in files.items():
        if path.startswith(("train/", "tools/")):  # they have fields of their own by the same names
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                text = {n.value for side in sides for n in ast.walk(side) if isinstance(n, ast.Constant)}
                found += [f"{path}:{node.lineno} compares with '{name}'" for name in sorted(TYPED_FIELDS & text)]
    return found


def foreign_imports(files: Sources) -> list[str]:
    """What the contract imports beyond NumPy and msgspec, and lowerings of one back end from another's."""
    found = []
    for path, source in files.items():
        for module, name in imports(path, source):
            top = module.split(".")[0]
            if path.startswith("sim/contract/"):
                own = module.startswith("hmdf.sim.contract") or module in ("hmdf.sim.arithmetic", "hmdf.sim.errors")
                if not own and top in ("hmdf", *HEAVY, "numba", "safetensors", "click", "rich"):
                    found.append(f"{path} imports {module}")
            home = back_end(path)
            other = back_end(module.removeprefix("hmdf.").replace(".", "/") + "/x")
            if home and other and home != other:
                found.append(f"{path} imports {name or module} of {other}")
    return found


HEAVY = ("torch", "onnx", "onnxruntime", "lava", "lightning", "matplotlib", "sklearn", "kornia")
BACK_ENDS = ("sim/kernels", "export/onnx", "export/lava", "export/c")


def back_end(path: str) -> str:
    return next((b for b in BACK_ENDS if path.startswith(f"{b}/")), "")


def borrowed_definitions(files: Sources) -> list[str]:
    """Where a back end calls the contract's own arithmetic: then agreement with the reference would mean nothing."""
    found = []
    for path, source in files.items():
        for node in ast.walk(ast.parse(source)):
            called = node.func if back_end(path) and isinstance(node, ast.Call) else None
            defined = isinstance(called, ast.Attribute) and called.attr in ("accumulate", "step")
            if called is not None and defined and ast.unparse(called) != "events.accumulate":
                found.append(f"{path}:{called.lineno} calls {ast.unparse(called)}")
        if back_end(path):
            borrowed = ("hmdf.sim.reference", "hmdf.sim.contract.neurons")
            found += [f"{path} imports {m}" for m, _ in imports(path, source) if m in borrowed]
    return found


def shared_names(files: Sources) -> list[str]:
    """Public classes of one name in two files. A kind has the same name in each back end: that is the rule, not a
    violation of it."""
    homes = defaultdict(set)
    for path, source in files.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(path)
    kinds = {*DYNAMICS, *OPS, "Dynamics"}
    return [f"{name}: {', '.join(sorted(p))}" for name, p in sorted(homes.items()) if len(p) > 1 and name not in kinds]


def loose_documents(files: Sources) -> list[str]:
    """Where the tools write or read JSON that no struct of `tools/documents` describes."""
    found = []
    for path, source in files.items():
        if not path.startswith("tools/") or path.startswith("tools/documents/"):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called.startswith(("json.dump", "json.load", "msgspec.json.")):
                    found.append(f"{path}:{node.lineno} calls {called}")
    return found
