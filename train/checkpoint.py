"""``model.pt``: a trained model as plain containers and tensors, readable with ``torch.load(weights_only=True)``.

Keys: ``format``, ``version``, ``network`` (NetworkSpec), ``preprocessing``, ``class_names``, ``dataset``, ``training``
(the TrainingConfig), ``metrics`` (of the last epoch), ``state`` (state_dict), and optionally ``resume`` (what a
training run needs to go on).
"""

import os
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .data import Preprocessing
from .errors import DataError, ModelError
from .networks import NetworkSpec, build

__all__ = ["Checkpoint", "load", "save"]

FORMAT = "hmdf-checkpoint"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model and all that is needed to use it."""

    network: NetworkSpec
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    dataset: str
    state: Mapping[str, Tensor]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    resume: Mapping[str, Any] | None = None

    def build(self) -> nn.Module:
        """The trained network, on the CPU in eval mode."""
        with torch.device("meta"):  # no initial values to compute, no random numbers drawn
            model = build(self.network)
        model.load_state_dict({name: tensor.clone() for name, tensor in self.state.items()}, assign=True)
        return model.eval()


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write beside ``path``, then rename: an interrupted write leaves the previous file whole."""
    path = Path(path)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "network": checkpoint.network.to_dict(),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "class_names": list(checkpoint.class_names),
        "dataset": checkpoint.dataset,
        "training": dict(checkpoint.training),
        "metrics": dict(checkpoint.metrics),
        "state": {name: tensor.detach().cpu() for name, tensor in checkpoint.state.items()},
    }
    if checkpoint.resume is not None:
        content["resume"] = dict(checkpoint.resume)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def load(path: str | Path) -> Checkpoint:
    """Read and validate a checkpoint; raises ModelError naming the file and the reason.

    Nothing in the file is executed, checksums are compared, and no more memory is allocated than the file is long.
    """
    path = Path(path)
    content = _read(path)
    _check_identity(path, content)
    for key, kind in _SCHEMA.items():
        if key not in content:
            raise ModelError(f"{path}: the checkpoint lacks {key!r}")
        if not isinstance(content[key], kind):
            raise ModelError(f"{path}: {key!r} must be a {kind.__name__} (got a {type(content[key]).__name__})")
    try:
        network = NetworkSpec.from_dict(content["network"])
        preprocessing = Preprocessing.from_dict(content["preprocessing"])
    except (ModelError, DataError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: {error}") from None
    if len(content["class_names"]) != network.classes:
        raise ModelError(f"{path}: {len(content['class_names'])} class names for {network.classes} classes")
    _check_state(path, network, content["state"])
    return Checkpoint(
        network=network,
        preprocessing=preprocessing,
        class_names=tuple(str(name) for name in content["class_names"]),
        dataset=content["dataset"],
        state=content["state"],
        metrics=content["metrics"],
        training=content["training"],
        resume=content.get("resume"),
    )


_SCHEMA: dict[str, type] = {
    "network": dict,
    "preprocessing": dict,
    "class_names": list,
    "dataset": str,
    "training": dict,
    "metrics": dict,
    "state": dict,
}


def _read(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ModelError(f"{path}: the archive is compressed, which torch.save never does")
            damaged = archive.testzip()
            if damaged is not None:
                raise ModelError(f"{path}: damaged, the checksum of its part {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ModelError(f"{path}: is a folder; give the model.pt in it") from None
    except zipfile.BadZipFile:
        raise ModelError(f"{path}: not a checkpoint, or truncated (no zip directory at its end)") from None
    except pickle.UnpicklingError:
        raise ModelError(f"{path}: refused, it holds more than plain containers and tensors") from None
    except ModelError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{path}: damaged, cannot be read ({type(error).__name__}: {reason})") from None


def _check_identity(path: Path, content: Any) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{path}: not a checkpoint of hmdf-train (its 'format' is not {FORMAT!r})")
    if content.get("version") != VERSION:
        raise ModelError(f"{path}: checkpoint version {content.get('version')!r}, this program reads version {VERSION}")


def _check_state(path: Path, network: NetworkSpec, state: Mapping[Any, Any]) -> None:
    """Names and shapes must be the network's, values not NaN; compared on the meta device, so nothing is allocated."""
    try:
        with torch.device("meta"):
            expected = build(network).state_dict()
    except (RuntimeError, OverflowError) as error:
        raise ModelError(f"{path}: the network cannot be built ({error})") from None
    for name, wanted in expected.items():
        tensor = state.get(name)
        if not isinstance(tensor, Tensor):
            raise ModelError(f"{path}: the state lacks {name!r}")
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise ModelError(
                f"{path}: {name!r} is {tensor.dtype} {tuple(tensor.shape)}, "
                f"the network needs {wanted.dtype} {tuple(wanted.shape)}"
            )
        if tensor.isnan().any():
            index = [int(i) for i in tensor.isnan().nonzero()[0]]
            raise ModelError(f"{path}: {name}{index} is NaN")
    unknown = [str(name) for name in state if name not in expected]
    if unknown:
        raise ModelError(f"{path}: the state has {unknown[0]!r}, which the network does not")
