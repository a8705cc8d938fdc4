"""What `make docs` adds to the guides: pages from files beside docs/ and from notebooks, the API, and equations."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "examples/README.md": "examples.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages of the site that are not in docs/."""
COPIED = ("LICENSE", "CITATION.cff", *(f"examples/{p.name}" for p in ROOT.glob("examples/*.csv")))
"""Files that pages link to."""
UNLISTED = ("hmdf.sim.kernels", "hmdf.tools", "hmdf.export.lava.template")
"""Packages that nobody imports: the insides of the simulator, the commands, and what a Lava bundle contains."""
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the API to the navigation, and blocks of ```math to Markdown."""
    assert config.nav is not None
    config.nav.append({"API": [{"hmdf": _page("hmdf")}, *_tree(_modules())]})
    chips = next(entry["Chips"] for entry in config.nav if "Chips" in entry)
    chips += [f"chips/{path.name}" for path in sorted((ROOT / "docs" / "chips").glob("*.md"))]
    fence = {"name": "math", "class": "math", "format": _block}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/, and one by module."""
    for source, place in (PAGES | {name: name for name in COPIED}).items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=_notebook(path)))
    package = find_spec("ziamath")
    assert package is not None
    assert package.origin is not None
    font = Path(package.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    files.append(File.generated(config, "math.ttf", abs_src_path=str(font)))
    files.append(File.generated(config, _page("hmdf"), content=_public_names()))
    for module in _modules():
        files.append(File.generated(config, _page(module), content=f"::: {module}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links between files of the repository as links between pages."""
    uri = page.file.src_uri
    here = next((source for source, place in PAGES.items() if place == uri), f"docs/{uri}")

    def moved(match: re.Match[str]) -> str:
        target = os.path.normpath(Path(here).parent / match[1])
        return f"]({os.path.relpath(PAGES.get(target, target.removeprefix('docs/')), Path(uri).parent)}{match[2]})"

    return re.sub(r"\]\((?!https?:)([^)#\s]+)(#[^)\s]*|)\)", moved, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Equations as MathML, which browsers show without a script."""
    return INLINE.sub(lambda match: convert(unescape(match[1])), html)


def _block(source: str, *_: Any, **__: Any) -> str:
    return convert(source, display="block")


def _notebook(path: Path) -> str:
    """The cells of a notebook as Markdown; what they show is made when they are run."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(path.read_text("utf-8"))["cells"]]
    text = [f"```python\n{source}\n```" if kind == "code" else source for kind, source in cells]
    return "\n\n".join([*text, f"[{path.name}]({path.name}), to be run in Jupyter."])


def _public_names() -> str:
    """A page with the names of `hmdf` itself, each a link to where it is defined."""
    tree = ast.parse((ROOT / "hmdf" / "__init__.py").read_text("utf-8"))
    assigned = next(n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "_MODULES")
    rows = [f"| `hmdf.{name}` | [{module}.{name}][] |" for name, module in ast.literal_eval(assigned).items()]
    return "\n".join(["# hmdf", "", ast.get_docstring(tree) or "", "", "| name | defined in |", "|---|---|", *rows, ""])


def _modules() -> list[str]:
    """Names of the documented modules that have something public in them, or a package's text."""
    found = []
    for folder, folders, names in os.walk(ROOT / "hmdf", followlinks=True):
        folders.sort()
        for path in sorted(Path(folder) / name for name in names if name.endswith(".py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if not module.startswith(UNLISTED) and "template" not in parts and _is_public(path):
                found.append(module)
    return sorted(found)


def _is_public(path: Path) -> bool:
    """Whether a file defines something with a docstring, under a name without an underscore."""
    kinds = ast.FunctionDef | ast.ClassDef
    body = ast.parse(path.read_text("utf-8")).body
    return any(isinstance(n, kinds) and not n.name.startswith("_") and ast.get_docstring(n) for n in body)


def _page(module: str) -> str:
    return f"api/{module}.md"


def _tree(modules: list[str]) -> list[Any]:
    """Entries of the navigation: modules by package."""

    def entries(prefix: str) -> Iterator[Any]:
        below = sorted({m[len(prefix) + 1 :].split(".")[0] for m in modules if m.startswith(prefix + ".")})
        for name in below:
            module = f"{prefix}.{name}"
            inside = list(entries(module))
            own = [{name: _page(module)}] if module in modules else []
            yield {name: [*own, *inside]} if inside else own[0]

    return list(entries("hmdf"))
