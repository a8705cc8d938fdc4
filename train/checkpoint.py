"""``model.pt``: a trained model as plain containers and tensors, readable with ``torch.load(weights_only=True)``.

Keys: ``format``, ``version``, ``network`` (NetworkSpec), ``preprocessing``, ``class_names``, ``dataset``, ``training``
(the TrainingConfig), ``metrics`` (of the last epoch), ``state`` (state_dict), and optionally ``resume`` (what a
training run needs to go on).

The slim form, ``version`` 2, has the low-bit weights in ``low_bit`` in the place of ``state``: {weight's name:
{"codes", "total"}}, packed as `slim` says. Its network computes the same to the last bit, and the file is about a tenth
as long; but the real-valued weights, from which training would go on, are lost, and it has no ``resume``.
"""

import io
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
from .slim import pack_state, unpack_state

__all__ = ["Checkpoint", "is_slim", "load", "save"]

FORMAT = "hmdf-checkpoint"
VERSION = 1
SLIM_VERSION = 2


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model and all that is needed to use it.

    Attributes:
        state: the state_dict; of a slim checkpoint with low-bit weights that are the trained ones only as quantised.
        resume: what a training run needs to go on.
        slim: the form that `save` writes, or that was read.
    """

    network: NetworkSpec
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    dataset: str
    state: Mapping[str, Tensor]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    resume: Mapping[str, Any] | None = None
    slim: bool = False

    def build(self) -> nn.Module:
        """The trained network, on the CPU in eval mode."""
        with torch.device("meta"):  # no initial values to compute, no random numbers drawn
            model = build(self.network)
        model.load_state_dict({name: tensor.clone() for name, tensor in self.state.items()}, assign=True)
        return model.eval()


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write beside ``path``, then rename: an interrupted write leaves the previous file whole.

    Raises ModelError for a slim checkpoint with something to resume.
    """
    path = Path(path)
    content = {
        "format": FORMAT,
        "version": SLIM_VERSION if checkpoint.slim else VERSION,
        "network": checkpoint.network.to_dict(),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "class_names": list(checkpoint.class_names),
        "dataset": checkpoint.dataset,
        "training": dict(checkpoint.training),
        "metrics": dict(checkpoint.metrics),
        "state": {name: tensor.detach().cpu() for name, tensor in checkpoint.state.items()},
    }
    if checkpoint.slim:
        if checkpoint.resume is not None:
            raise ModelError(f"{path}: a slim checkpoint cannot hold what a run needs to go on; leave 'resume' out")
        content["state"], content["low_bit"] = pack_state(checkpoint.build())
    if checkpoint.resume is not None:
        content["resume"] = dict(checkpoint.resume)
    whole = io.BytesIO()  # torch hides what goes wrong while it writes to a disk
    torch.save(content, whole)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(whole.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def load(path: str | Path) -> Checkpoint:
    """Read and validate a checkpoint; raises ModelError naming the file and the reason.

    Nothing in the file is executed and checksums are compared. No more memory is allocated than the file is long,
    except that packed low-bit weights are unpacked, one byte to 4 or 8 weights.
    """
    path = Path(path)
    content = _read(path)
    _check_identity(path, content)
    slim = content["version"] == SLIM_VERSION
    for key, kind in (_SCHEMA | {"low_bit": dict} if slim else _SCHEMA).items():
        if key not in content:
            raise ModelError(f"{path}: the checkpoint lacks {key!r}")
        if not isinstance(content[key], kind):
            raise ModelError(f"{path}: {key!r} must be a {kind.__name__} (got a {type(content[key]).__name__})")
    try:
        network = NetworkSpec.from_dict(_as_meant(content["network"]))
        preprocessing = Preprocessing.from_dict(content["preprocessing"])
    except (ModelError, DataError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: {error}") from None
    if len(content["class_names"]) != network.classes:
        raise ModelError(f"{path}: {len(content['class_names'])} class names for {network.classes} classes")
    _check_size(path, content)
    state = _complete_state(path, network, content["state"], content["low_bit"] if slim else {})
    return Checkpoint(
        network=network,
        preprocessing=preprocessing,
        class_names=tuple(str(name) for name in content["class_names"]),
        dataset=content["dataset"],
        state=state,
        metrics=content["metrics"],
        training=content["training"],
        resume=None if slim else content.get("resume"),
        slim=slim,
    )


def is_slim(path: str | Path) -> bool:
    """Whether ``path`` is a slim checkpoint; False for what is none, or cannot be read."""
    try:
        content = _read(Path(path))
        _check_identity(Path(path), content)
    except ModelError:
        return False
    return content["version"] == SLIM_VERSION


_SCHEMA: dict[str, type] = {
    "network": dict,
    "preprocessing": dict,
    "class_names": list,
    "dataset": str,
    "training": dict,
    "metrics": dict,
    "state": dict,
}


def _as_meant(network: Mapping[str, Any]) -> dict[str, Any]:
    """A network's description with the present names of what it meant when it was written.

    Raises ModelError for a network that there is no more.
    """
    meant = dict(network)
    if meant.get("name") == "resnet19" and "block" not in meant:
        raise ModelError(
            "'resnet19' was another network when this was written (neurons before the convolutions, 128 channels in "
            "the stem, one linear layer), which there is no more: train again with --net resnet19 as it is now, or use "
            "this checkpoint with the hmdf that wrote it"
        )
    if meant.get("seca") == "II" and "mpbn_on" not in meant:  # before there were two kinds of it
        meant["seca"] = "II-gate"
    return meant


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
    if content.get("version") not in (VERSION, SLIM_VERSION):
        raise ModelError(
            f"{path}: checkpoint version {content.get('version')!r}, this program reads versions {VERSION} and "
            f"{SLIM_VERSION}"
        )


def _check_size(path: Path, content: Mapping[str, Any]) -> None:
    """Tensors may be views that repeat a few stored bytes; together they must not be larger than the file."""
    packed = [values for values in content.get("low_bit", {}).values() if isinstance(values, dict)]
    tensors = [value for values in (content["state"], *packed) for value in values.values()]
    tensors = [tensor for tensor in tensors if isinstance(tensor, Tensor)]
    if not all(tensor.device.type == "cpu" and tensor.layout == torch.strided for tensor in tensors):
        raise ModelError(f"{path}: refused, a tensor is not stored whole (sparse, or without its values)")
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if needed > path.stat().st_size:
        raise ModelError(f"{path}: its tensors are {needed} bytes, the file has {path.stat().st_size}")


def _complete_state(
    path: Path, network: NetworkSpec, state: Mapping[Any, Any], low_bit: Mapping[Any, Any]
) -> Mapping[Any, Any]:
    """The state with its low-bit weights; names and shapes must be the network's.

    Compared on the meta device, so nothing is allocated for a network that the file does not hold.
    """
    try:
        with torch.device("meta"):
            model = build(network)
    except (RuntimeError, OverflowError) as error:
        raise ModelError(f"{path}: the network cannot be built ({error})") from None
    twice = [name for name in low_bit if name in state]
    if twice:
        raise ModelError(f"{path}: the state has {twice[0]!r}, which is packed too")
    try:
        state = {**state, **unpack_state(model, low_bit)}
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    _check_state(path, model.state_dict(), state)
    return state


def _check_state(path: Path, expected: Mapping[str, Tensor], state: Mapping[Any, Any]) -> None:
    """Names and shapes must be the expected ones, values not NaN."""
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
