"""out.json as it is read back: the keys that the report needs, with their types checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np

from hmdf.hw_targets.events import EventCounts
from hmdf.sim.contract import INPUT, Population
from hmdf.sim.errors import InputError
from hmdf.sim.program import Program

Document = TypeVar("Document")

# Bounds that every true number keeps, so that none of another kind reaches a sum or a picture.
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e24)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
Extent = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
Real = Annotated[float, msgspec.Meta(ge=-1e24, le=1e24)]

LARGEST = 64 << 20
"""Bytes of the largest file that is read."""


class Accuracy(msgspec.Struct, frozen=True, rename={"floating": "float"}):
    floating: Share | None = None
    integer: Share | None = None
    agreement: Share | None = None


class Sops(msgspec.Struct, frozen=True):
    per_sample: Amount
    conventional_per_sample: Amount
    std: Amount
    smallest: Whole
    largest: Whole


class Macs(msgspec.Struct, frozen=True):
    per_sample: Amount


class MemoryUse(msgspec.Struct, frozen=True):
    weight_bytes: Whole
    conventional_weight_bytes: Amount
    parameter_bytes: Whole
    state_bytes: Whole
    total_bytes: Whole


class InputMessages(msgspec.Struct, frozen=True):
    spike_density: Share
    spikes_per_sample: Amount


class Layer(msgspec.Struct, frozen=True):
    name: str
    kind: str
    shape: list[Extent]
    bits: Whole
    spike_density: Share
    register_bits: Whole
    register_limit: Extent
    sops_per_sample: Amount | None = None
    macs_per_sample: Amount | None = None
    conventional_sops_per_sample: Amount | None = None
    weight_bytes: Whole | None = None
    signed: bool | None = None
    spikes_per_sample: Amount | None = None
    state_saturations: Whole | None = None
    message_saturations: Whole | None = None
    state_can_saturate: bool | None = None
    message_can_saturate: bool | None = None


class Verification(msgspec.Struct, frozen=True):
    executor: str
    bit_exact: bool
    compared: Whole
    samples: Extent
    populations: Whole
    first_mismatch: dict[str, Any] | None = None


class Noise(msgspec.Struct, frozen=True):
    population: str
    bits: Whole
    lsb: Amount
    sqnr_db: Real | None
    own_sqnr_db: Real | None


class Spread(msgspec.Struct, frozen=True):
    mean: Amount
    std: Amount
    smallest: Amount
    largest: Amount


class Cost(msgspec.Struct, frozen=True):
    """A row of `targets`: only the spreads over the samples are taken over, all else is computed again."""

    target: str
    energy_spread_pj: Spread | None = None
    latency_spread_ns: Spread | None = None


class Range(msgspec.Struct, frozen=True):
    low: Amount
    typical: Amount
    high: Amount


class OnTarget(msgspec.Struct, frozen=True):
    target: str
    fits: bool
    energy_pj: Range | None
    latency_ns: Range | None


class Baseline(msgspec.Struct, frozen=True):
    """Another network on the same samples."""

    file: str
    network: str
    sha256: str
    accuracy: Share | None
    sops_per_sample: Amount
    macs_per_sample: Amount
    energy_pj: Range | None
    targets: list[OnTarget]


class Origin(msgspec.Struct, frozen=True):
    sha256: str


class Run(msgspec.Struct, frozen=True):
    command: str
    finished: str
    versions: dict[str, str]
    machine: str


class Picture(msgspec.Struct, frozen=True):
    kind: Literal["grey", "rgb", "events"]
    shape: tuple[Extent, Extent, Extent]
    values: list[Whole]


class SampleLayer(msgspec.Struct, frozen=True):
    name: str
    spikes_by_step: list[Whole]
    map_shape: tuple[Extent, Extent, Extent]
    map: list[Whole]


class Sample(msgspec.Struct, frozen=True):
    index: Whole
    label: Whole | None
    predicted: Whole
    picture: Picture | None
    logits_by_step: list[list[Real]]
    layers: list[SampleLayer]


class Measured(msgspec.Struct, frozen=True):
    """out.json of hmdf-sim, or report.json of hmdf-compile; docs/reports.md describes the keys."""

    samples: Extent
    time_steps: Extent
    accuracy: Accuracy
    sops: Sops
    macs: Macs
    memory: MemoryUse
    input: InputMessages
    layers: list[Layer]
    program: Origin
    timing: dict[str, Amount]
    run: Run
    verify: dict[str, Verification] = {}
    fidelity: list[Noise] = []
    targets: list[Cost] = []
    baseline: Baseline | None = None
    sample: Sample | None = None

    def activity(self, program: Program) -> EventCounts:
        """Mean events per sample; their energy is the mean energy, for it is linear in them."""
        layers = {layer.name: layer for layer in self.layers}
        messages = {p.name: layers[p.name].spikes_per_sample or 0.0 for p in program.populations}
        return EventCounts(
            measured=True,
            messages={name: np.array([v]) for name, v in {INPUT: self.input.spikes_per_sample, **messages}.items()},
            sops={s.name: np.array([layers[s.name].sops_per_sample or 0.0]) for s in program.synapses},
            macs={s.name: float(layers[s.name].macs_per_sample or 0.0) for s in program.synapses},
        )


class Compiled(msgspec.Struct, frozen=True):
    """What is taken from report.json of hmdf-compile."""

    program: Origin
    notes: list[str] = []
    run: Run | None = None


def read(path: Path, program: Program) -> Measured:
    """The measurements of a program.

    Raises:
        InputError: no such file, not such a document, or one of another program.
    """
    measured = _decoded(path, Measured)
    _check_origin(measured.program, program, path)
    _check(measured, program, path)
    return measured


def read_compiled(path: Path, program: Program) -> Compiled:
    """What the compiler said; raises as `read`."""
    compiled = _decoded(path, Compiled)
    _check_origin(compiled.program, program, path)
    return compiled


def _decoded(path: Path, kind: type[Document]) -> Document:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: larger than {LARGEST >> 20} MiB, so not written by hmdf-sim --json")
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; hmdf-sim --json writes such a file") from None
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: not written by this version of hmdf-sim --json: {error}") from None


def _check_origin(origin: Origin, program: Program, path: Path) -> None:
    if origin.sha256 != program.sha256:
        raise InputError(
            f"{path}: it is of another program ({origin.sha256[:12]}..., the model is {program.sha256[:12]}...); "
            "run hmdf-sim --json again"
        )


def _check(measured: Measured, program: Program, path: Path) -> None:
    if [layer.name for layer in measured.layers] != [node.name for node in program.nodes]:
        raise InputError(f"{path}: its layers are not those of the program; run hmdf-sim --json again")
    for layer in measured.layers:
        if isinstance(program.by_name[layer.name], Population) == (layer.spikes_per_sample is None):
            raise InputError(f"{path}: layer '{layer.name}' is of another kind; run hmdf-sim --json again")
    if measured.sample is not None:
        _check_sample(measured.sample, program, path)


def _check_sample(sample: Sample, program: Program, path: Path) -> None:
    """Sizes and ranges, so that pictures can be drawn without another look."""
    sound = (
        all(0 <= name < program.classes for name in (sample.label or 0, sample.predicted))
        and [len(row) for row in sample.logits_by_step] == [program.classes] * program.time_steps
        and len(sample.layers) > 0
        and all(_sound_map(layer, program.time_steps) for layer in sample.layers)
        and (sample.picture is None or _sound_picture(sample.picture))
    )
    if not sound:
        raise InputError(f"{path}: key 'sample' does not fit the program; run hmdf-sim --json again")


def _sound_map(layer: SampleLayer, steps: int) -> bool:
    shown, height, width = layer.map_shape
    return (
        len(layer.spikes_by_step) == steps
        and 1 <= shown <= steps
        and min(height, width) >= 1
        and len(layer.map) == shown * height * width
        and min(layer.map) >= 0
    )


def _sound_picture(picture: Picture) -> bool:
    height, width, channels = picture.shape
    return (
        min(height, width) >= 1
        and channels == {"grey": 1, "events": 2, "rgb": 3}[picture.kind]
        and len(picture.values) == height * width * channels
        and 0 <= min(picture.values) <= max(picture.values) <= 255
    )
