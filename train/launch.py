"""What a run needs before it begins: data, network and options that fit, and the processes that share it."""

import multiprocessing
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from .config import TrainingConfig
from .data import Dataset
from .errors import DataError, ModelError
from .networks import NetworkSpec


def check_fit(spec: NetworkSpec, config: TrainingConfig, train_data: Dataset, test_data: Dataset) -> None:
    """Raise DataError or ModelError unless the data, the network and the mini-batches fit together."""
    for data in (train_data, test_data):
        larger_is_fine = config.resized_crop and data is train_data and data.input_shape[0] == spec.input_shape[0]
        if data.input_shape != spec.input_shape and not larger_is_fine:
            raise DataError(f"{data.name}: images are {data.input_shape} but the network takes {spec.input_shape}")
        if len(data.class_names) != spec.classes:
            raise DataError(f"{data.name}: {len(data.class_names)} classes but the network has {spec.classes}")
        if data.frames is not None and data.frames < spec.time_steps:
            raise DataError(
                f"{data.name}: {data.frames} frames per sample, the network needs {spec.time_steps} time-steps"
            )
    if config.small_size and (spec.event or spec.name == "vgg-snn"):
        raise DataError("small_size is for images and for networks that end in a global average pool")
    if config.workers and "fork" not in multiprocessing.get_all_start_methods():
        raise ModelError(f"workers (got {config.workers}) need a system that can fork processes; leave it at 0")
    if spec.norm == "time" and spec.time_steps > 1 and config.backprop != "stbp":
        raise ModelError(f"norm 'time' needs all time-steps at once: backprop 'stbp' (got {config.backprop!r})")
    if config.backprop == "slices" and config.slice > spec.time_steps:
        raise ModelError(f"a slice of {config.slice} time-steps is longer than the {spec.time_steps} there are")
    if config.sparsify and spec.weights == "binary":
        raise ModelError("sparsify cannot do anything to binary weights, which are never 0: take ternary or float")
    if config.optimizer == "muon" and spec.weights == "float":
        raise ModelError("optimizer 'muon' is for low-bit weights; with weights 'float' take 'sgd'")
    parts = config.devices * config.nodes * config.accumulate
    if min(config.batch_size, len(train_data)) < 2 * parts:
        raise DataError(
            f"{parts} parts (devices x nodes x accumulate) need mini-batches of at least {2 * parts} samples "
            f"(batch_size is {config.batch_size}, {train_data.name} has {len(train_data)})"
        )


def layout(spec: NetworkSpec, config: TrainingConfig, train_data: Dataset, test_data: Dataset) -> str:
    """Which process of a run this one is, by what started it, in a line; nothing is started or written.

    Raises what `train` does before it begins.
    """
    check_fit(spec, config, train_data, test_data)
    environment: Any = getattr(fabric_of(config).strategy, "cluster_environment", None)
    processes = config.devices * config.nodes
    node, local = (environment.node_rank(), environment.local_rank()) if environment else (0, 0)
    rank = node * config.devices + local
    part = np.array_split(np.arange(config.batch_size), processes)[rank]
    text = f"process {rank} of {processes} (node {node}, device {local}): {len(part)} of {config.batch_size} samples"
    if environment is None:
        return text
    where = f"{environment.main_address}:{environment.main_port}"
    return f"{text}; all meet at {where}, started by {_name(environment)}"


def fabric_of(config: TrainingConfig) -> Fabric:
    wanted = config.devices * config.nodes
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            precision=config.precision,
            strategy="ddp" if wanted > 1 else "auto",
        )
    except Exception as error:  # Fabric has kinds of its own for what this machine lacks.
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"accelerator '{config.accelerator}' with {config.devices} devices: {reason}") from error
    environment: Any = getattr(fabric.strategy, "cluster_environment", None)
    if environment and not isinstance(environment, LightningEnvironment) and environment.world_size() != wanted:
        raise ModelError(
            f"{_name(environment)} started {environment.world_size()} processes, but devices x nodes are {wanted}"
        )
    return fabric


def _name(environment: Any) -> str:
    return type(environment).__name__.removesuffix("Environment")
