"""What all points share: the network traced, folded and calibrated once, and the samples they are measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray

import hmdf
from hmdf.export.compiler import registers_of
from hmdf.export.graph import FoldedGraph
from hmdf.export.passes.calibrate import Statistics, affordable, calibrate
from hmdf.export.passes.fold import fold
from hmdf.export.passes.merge_pools import merge_pools
from hmdf.export.passes.quantize import quantize
from hmdf.export.passes.trace import trace
from hmdf.hw_targets.schema import Target
from hmdf.hw_targets.target import load_target
from hmdf.sim.errors import InputError
from hmdf.sim.program import Metadata, Preprocessing
from hmdf.train.data import Dataset
from hmdf.train.data.folds import short_name

from ..documents.exploration import Pools
from ..inputs import normalised, to_program
from ..model import TrainedModel


@dataclass(frozen=True)
class Calibrated:
    """A folded network with its statistics on the calibration samples."""

    graph: FoldedGraph
    statistics: Statistics


@dataclass(frozen=True, eq=False)
class Workload:
    """Everything that measuring a setting needs; sent once to each worker.

    Attributes:
        networks: by treatment of pools.
        inputs: raw samples, (N, *shape) or (N, T, *shape); labels: (N,).
        targets: by name.
        chips: of each target that may be used.
        serialize: send graded spikes bit by bit on targets with binary messages.
        fingerprint: digest of model, compiler, calibration and samples.
    """

    networks: dict[Pools, Calibrated]
    framed: bool
    preprocessing: Preprocessing
    metadata: Metadata
    inputs: np.ndarray
    labels: NDArray[np.int64]
    targets: dict[str, Target]
    chips: int
    serialize: bool
    fingerprint: str

    @property
    def time_steps(self) -> int:
        """T of training."""
        return next(iter(self.networks.values())).graph.time_steps

    @property
    def classes(self) -> int:
        """Classes of the read-out."""
        return next(iter(self.networks.values())).graph.readout_classes


def prepare(
    trained: TrainedModel,
    data: Dataset,
    calibration: Dataset,
    targets: list[Target],
    *,
    pools: list[Pools],
    chips: int = 1,
    serialize: bool = False,
    calibration_macs: float = inf,
    progress: Callable[[int, int | None], None] | None = None,
) -> Workload:
    """Trace, fold and calibrate a network.

    Args:
        data: what the points are simulated on.
        calibration_macs: calibrate on no more of the samples than this many multiply-accumulates allow.
        progress: called with (calibration samples done since the last call, their total).

    Raises:
        CompileError: with every reason why the network cannot become a program on any target.
        InputError: samples that do not fit the network or each other.
    """
    preprocessing = trained.preprocessing or to_program(calibration.preprocessing)
    _check_shapes(trained, data, calibration)
    x = normalised(calibration, preprocessing)
    framed = calibration.frames is not None
    example = torch.from_numpy(x[:1].astype(np.float32))
    kept = fold(trace(trained.module, example[:, 0] if framed else example))
    if framed and calibration.frames != kept.time_steps:
        problem = f"its samples have {calibration.frames} frames, the network {kept.time_steps} time-steps"
        raise InputError(f"{calibration.name}: {problem}")
    graphs = {choice: kept if choice == "keep" else merge_pools(kept) for choice in pools}
    x = x[: affordable(kept, calibration_macs)] if calibration_macs < inf else x
    networks = {choice: Calibrated(graph, calibrate(graph, x, progress=progress)) for choice, graph in graphs.items()}
    metadata = Metadata(
        tool_version=hmdf.__version__,
        network=trained.network,
        source_sha256=trained.sha256,
        data_set=trained.data_set,
        class_names=trained.class_names,
        calibration_data=short_name(calibration.name),
        calibration_samples=len(x),
    )
    return Workload(
        networks=networks,
        framed=framed,
        preprocessing=preprocessing,
        metadata=metadata,
        inputs=data.inputs,
        labels=data.labels,
        targets={target.name: target for target in targets},
        chips=chips,
        serialize=serialize,
        fingerprint=_fingerprint(networks, framed, preprocessing, metadata, x, data),
    )


def _check_shapes(trained: TrainedModel, data: Dataset, calibration: Dataset) -> None:
    for samples in (data, calibration):
        if not len(samples):
            raise InputError(f"{samples.name}: there are no samples")
        if trained.input_shape not in (None, samples.input_shape):
            raise InputError(
                f"{samples.name}: its samples are {samples.input_shape}, the network takes {trained.input_shape}"
            )
    if (data.input_shape, data.frames) != (calibration.input_shape, calibration.frames):
        raise InputError(
            f"{data.name} and {calibration.name} differ: samples of {data.inputs.shape[1:]} and "
            f"{calibration.inputs.shape[1:]}"
        )


def _fingerprint(
    networks: dict[Pools, Calibrated],
    framed: bool,
    preprocessing: Preprocessing,
    metadata: Metadata,
    calibration: np.ndarray,
    data: Dataset,
) -> str:
    """Digest of the samples and of a program: a changed network or compiler changes that program."""
    graph, statistics = next((n.graph, n.statistics) for n in networks.values())
    registers = registers_of(load_target("generic"))
    program = quantize(
        graph, statistics, framed=framed, preprocessing=preprocessing, registers=registers, metadata=metadata
    ).program
    digest = hashlib.sha256(program.sha256.encode())
    for array in (calibration, data.inputs, data.labels):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
