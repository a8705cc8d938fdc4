"""The demo network measured at a small grid of settings, once; and points made up."""

import msgspec
import pytest

from hmdf.hw_targets.schema import Cost
from hmdf.hw_targets.target import load_target
from hmdf.sim.finding import Finding
from hmdf.tools.documents.exploration import Point, Setting
from hmdf.tools.exploration.runners import Job, run_here
from hmdf.tools.exploration.workload import Workload, prepare
from hmdf.tools.inputs import load_data
from hmdf.tools.model import load_model

EVERY = [Job(Setting(bits, steps), ("loihi2", "loihi1")) for bits in (2, 4) for steps in (1, 2)]


@pytest.fixture(scope="session")
def workload(demo) -> Workload:
    """The demo network on 60 digits, calibrated on 64, for both Loihis."""
    chips = [load_target("loihi2"), load_target("loihi1")]
    calibration = load_data("digits", "train", None, 64)
    return prepare(load_model(demo.model), load_data(str(demo.data), "test", None, None), calibration, chips,
                   pools=["keep"])  # fmt: skip


@pytest.fixture(scope="session")
def measured(workload) -> list[Point]:
    """Every point of EVERY, one after the other in this process."""
    return [point for part in run_here(workload, EVERY) for point in part]


def timeless(points: list[Point]) -> list[Point]:
    return sorted((msgspec.structs.replace(p, seconds=0.0) for p in points), key=lambda p: p.key)


def a_point(index: int, target: str, correct: int, energy: float | None, memory: int, cores: int, fits: bool) -> Point:
    return Point(
        key=str(index),
        target=target,
        setting=Setting(1 + index % 8, 1 + index // 8),
        findings=[] if fits else [Finding("program", "it needs more", "a larger chip")],
        notes=[],
        samples=10,
        correct=correct,
        accuracy=correct / 10,
        energy_pj=None if energy is None else Cost(energy / 2, energy, 2 * energy),
        energy_status="estimate",
        memory_bytes=memory,
        cores=cores,
        chips=1,
    )
