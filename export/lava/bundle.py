"""Writes a bundle: a folder that runs a Program in Lava without hmdf."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from string import Template

import numpy as np

from hmdf.sim.errors import ProgramError
from hmdf.sim.program import Program

from .wiring import Wiring, graph, wire

TEMPLATE = Path(__file__).parent / "template"


def export_bundle(program: Program, folder: str | os.PathLike[str]) -> Path:
    """Write `folder`: graph.json, arrays.npz, the Processes, run.py and a README. Whole or not at all.

    A bundle that was there before is replaced.

    Returns:
        The folder.

    Raises:
        ProgramError: Lava cannot compute this program exactly, or `folder` holds something that is not a bundle.
    """
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "graph.json").is_file()):
        raise ProgramError(f"{folder}: exists and is not a Lava bundle; choose another folder or remove it")
    wiring = wire(program)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _write(program, wiring, beside / "new")
        if folder.exists():
            os.replace(folder, beside / "old")
        os.replace(beside / "new", folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _write(program: Program, wiring: Wiring, folder: Path) -> None:
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "graph.json").write_bytes(graph(program, wiring))
    np.savez_compressed(folder / "arrays.npz", **wiring.arrays)  # type: ignore[arg-type]
    readme = folder / "README.md"
    readme.write_text(Template(readme.read_text()).substitute(_facts(program)))


def _facts(program: Program) -> dict[str, object]:
    """What the README says of this program."""
    from hmdf import __version__

    low, high = program.input.message.range
    constant = program.input.timing == "constant"
    return {
        "network": program.metadata.network or "A network",
        "version": program.metadata.tool_version or __version__,
        "input_shape": f"(N, {', '.join(map(str, (program.input_steps, *program.input.shape)))})",
        "input_range": f"[{low}, {high}]",
        "input_steps": "each shown at every step" if constant else "one array per step",
        "classes": program.classes,
        "time_steps": program.time_steps,
        "logit_scale": f"{program.readout.scale:g}",
        "sha256": program.sha256,
    }
