"""Modules under the names they had before version 0.1.0 was regrouped. Goes with version 0.3.

Importing one warns and gives the module that took its place, with the classes that were renamed under both names.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MODULES = {
    "export.calibrate": "export.passes.calibrate",
    "export.findings": "export.errors",
    "export.fold": "export.passes.fold",
    "export.merge_pools": "export.passes.merge_pools",
    "export.quantize": "export.passes.quantize",
    "export.symbolic": "export.passes.symbolic",
    "export.trace": "export.passes.trace",
    "hw_targets.activity": "hw_targets.events",
    "hw_targets.capacity": "hw_targets.judge.capacity",
    "hw_targets.cost": "hw_targets.price.cost",
    "hw_targets.finding": "sim.finding",
    "hw_targets.fit": "hw_targets.judge.fit",
    "hw_targets.layers": "hw_targets.place.layers",
    "hw_targets.mapping": "hw_targets.place.mapping",
    "hw_targets.partition": "hw_targets.place.partition",
    "hw_targets.placement": "hw_targets.place.placement",
    "hw_targets.references": "hw_targets.price.references",
    "hw_targets.requantise": "hw_targets.judge.weight_noise",
    "hw_targets.serialize": "export.passes.serialize",
    "hw_targets.survey": "hw_targets.on_targets",
    "hw_targets.timing": "hw_targets.price.timing",
    "sim.nodes": "sim.contract",
    "train.data.arrays": "train.data.npz_arrays",
    "train.data.events": "train.data.event_readers",
    "train.data.folders": "train.data.class_folders",
    "train.data.frames": "train.data.event_frames",
    "train.data.images": "train.data.lazy_images",
    "train.data.npz": "train.data.npz_sets",
    "train.data.pictures": "train.data.picture_files",
    "train.data.recordings": "train.data.event_sets",
    "train.data.sources": "train.data.search",
    "train.fused_gpu": "train.fused.triton",
    "train.fused_gpu_kernels": "train.fused.triton_loops",
    "train.fused_kernels": "train.fused.cpu.loops",
    "train.insight": "train.inspection",
}
NAMES = {
    "hw_targets.activity": {"Activity": "EventCounts"},
    "hw_targets.layers": {"Layer": "ChipLayer", "Edge": "ChipEdge"},
    "hw_targets.survey": {"Verdict": "OnTarget", "survey": "on_targets"},
}


class Moved(MetaPathFinder, Loader):
    """Finds a module by its former name; it is asked last, for names that no file has."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname.removeprefix("hmdf.") in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        former = module.__name__.removeprefix("hmdf.")
        successor = import_module(f"hmdf.{MODULES[former]}")
        renamed = NAMES.get(former, {})
        for name in renamed:
            setattr(module, name, getattr(successor, renamed[name]))
        module.__dict__.update({k: v for k, v in vars(successor).items() if not k.startswith("__")})
        warnings.warn(f"{module.__name__} is now {successor.__name__}", DeprecationWarning, stacklevel=2)


sys.meta_path.append(Moved())
