"""Trained networks for the command lines: a model.pt of hmdf-train, a state_dict and the factory of its module, NIR."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmdf.sim.errors import InputError
from hmdf.sim.program import Preprocessing
from hmdf.train.errors import ModelError

from .inputs import to_program

if TYPE_CHECKING:
    from nir import NIRGraph
    from torch import nn


@dataclass(frozen=True)
class TrainedModel:
    """A network with what is known about it.

    Attributes:
        module: of torch, or a graph of the package nir.
        network: name of the architecture, or of its factory.
        data_set: what it was trained on; "" when the file does not say.
        preprocessing, input_shape: None when the file does not say; (C, H, W) of one time-step.
        sha256: of the file.
    """

    module: nn.Module | NIRGraph
    network: str
    data_set: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing | None
    input_shape: tuple[int, ...] | None
    sha256: str


def load_model(path: Path, factory: str | None = None) -> TrainedModel:
    """Read a checkpoint; with `factory` ("package.module:function") a plain state_dict for the module it builds.

    Raises:
        ModelError, InputError: the file or the factory is not usable; the message says which and why.
    """
    if factory is not None:
        module = _build(factory)
        _load_state(path, module, factory)
        return TrainedModel(module.eval(), factory, "", (), None, None, _sha256(path))
    if _is_nir(path):
        from hmdf.export.nir.read import read_file

        return TrainedModel(read_file(path), "nir", "", (), None, None, _sha256(path))
    from hmdf.train import checkpoint

    try:
        loaded = checkpoint.load(path)
    except ModelError as error:
        if "'format'" not in str(error):
            raise
        raise ModelError(f"{error}; for a plain state_dict give --network PACKAGE.MODULE:FUNCTION") from None
    return TrainedModel(
        module=loaded.build(),
        network=loaded.network.name,
        data_set=loaded.dataset,
        class_names=loaded.class_names,
        preprocessing=to_program(loaded.preprocessing),
        input_shape=loaded.network.input_shape,
        sha256=_sha256(path),
    )


def _is_nir(path: Path) -> bool:
    """By its name, or because it is HDF5."""
    if path.suffix == ".nir":
        return True
    try:
        with open(path, "rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


def _build(factory: str) -> nn.Module:
    from torch import nn

    name, separator, function = factory.partition(":")
    if not (name and separator and function) or name.startswith("."):
        raise InputError(f"--network must be package.module:function (got '{factory}')")
    sys.path.insert(0, os.getcwd())
    try:
        imported = importlib.import_module(name)
    except Exception as error:  # the user's own code may raise anything
        raise InputError(f"--network {factory}: cannot import '{name}': {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    if not hasattr(imported, function):
        raise InputError(f"--network {factory}: '{name}' has no '{function}'")
    try:
        module = getattr(imported, function)()
    except Exception as error:  # the user's own code may raise anything
        raise InputError(f"--network {factory}: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"--network {factory}: gave a {type(module).__name__}, not a torch.nn.Module")
    return module


def _load_state(path: Path, module: nn.Module, factory: str) -> None:
    import pickle
    import zipfile

    import torch

    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise ModelError(f"{path}: not a file of plain tensors: {str(error).splitlines()[0]}") from None
    for key in ("state_dict", "state"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise ModelError(f"{path}: holds a {type(state).__name__}, not a state_dict")
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:4]) or str(error)
        raise ModelError(f"{path}: does not fit the module of {factory}: {reason}") from None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
