"""How to train: the options, and TOML files of them. The papers' settings come with the package.

config = read_config("resnet18-cifar10")
"""

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .errors import ModelError

__all__ = ["RunConfig", "TrainingConfig", "config_names", "read_config"]

CONFIG_FOLDER = Path(__file__).with_name("configs")

CHOICES: dict[str, tuple[Any, ...]] = {
    "backprop": ("random", "every", "stbp", "slices"),
    "loss": ("tet", "mean"),
    "optimizer": ("sgd", "muon"),
    "auto_augment": ("none", "cifar10", "imagenet", "svhn"),
    "precision": ("32-true", "bf16-mixed"),
}
AUGMENTATION = ("crop", "resized_crop", "flip", "auto_augment", "cutout", "mixup", "roll")
# option -> (smallest, largest value); whole numbers where the smallest is one
RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, math.inf),
    "batch_size": (2, math.inf),
    "accumulate": (1, math.inf),
    "test_every": (1, math.inf),
    "slice": (1, math.inf),
    "crop": (0, 1024),
    "cutout": (0, 1024),
    "roll": (0, 1024),
    "small_size": (0, 1024),
    "small_epochs": (0, math.inf),
    "seed": (0, 2**63 - 1),
    "workers": (0, 1024),
    "devices": (1, math.inf),
    "nodes": (1, math.inf),
    "learning_rate": (0.0, math.inf),
    "warmup_epochs": (0.0, math.inf),
    "momentum": (0.0, 1.0),
    "weight_decay": (0.0, math.inf),
    "muon_learning_rate": (0.0, math.inf),
    "muon_weight_decay": (0.0, math.inf),
    "label_smoothing": (0.0, 1.0),
    "mixup": (0.0, 1.0),
    "sparsify": (0.0, math.inf),
}


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; plain values, stored in the checkpoint.

    Attributes:
        epochs: passes over the training split.
        batch_size: samples per optimiser step, over all processes and accumulated parts together.
        accumulate: parts into which each process cuts its share of a mini-batch, to save memory.
        learning_rate: peak, reached after ``warmup_epochs`` (linear), then a cosine to 0 at the end.
        momentum: of SGD.
        nesterov: whether that is Nesterov's.
        weight_decay: of convolution and linear weights; norms, biases and neuron parameters have none.
        optimizer: "sgd", or "muon": Muon for the weights of low-bit convolutions, SGD for all others.
        muon_learning_rate: peak, of Muon; it follows the same schedule.
        muon_weight_decay: of the weights that Muon updates.
        label_smoothing: of the cross-entropy.
        backprop: "random" (one time-step per mini-batch), "every" (all, online), "stbp" (full unroll) or "slices"
            (unrolled for ``slice`` time-steps at a time, with an update of the weights after each).
        slice: time-steps of a slice; the last one of a sample may be shorter.
        loss: the cross-entropy of each step's logits, averaged ("tet"), or that of the logits' mean over the steps
            ("mean", which needs several steps before the first gradient: with "stbp" and "slices").
        sparsify: D of sparse training: weights below a threshold that grows to D become 0 (`sparsity`); 0: none.
        crop: move each image by up to this many pixels in both directions; black comes in.
        resized_crop: cut 8 to 100 % of the image's area, scaled to the network's input.
        flip: mirror every second sample, left to right.
        small_size: shrink training images to this many pixels a side in the first ``small_epochs`` epochs, when
            what they teach is coarse anyway; a step then takes that much less time. 0: never.
        auto_augment: the learned policy for "cifar10", "imagenet" or "svhn", or "none".
        cutout: blank a square of this many pixels, 0 for none.
        mixup: probability with which an image is mixed with another one, in a share drawn from 0..1.
        roll: for events: move each recording by up to this many pixels, around the edge.
        test_every: test after every so many epochs, and after the last one.
        seed: of the initial weights, the order of samples, the drawn steps and the augmentation.
        precision: of Lightning Fabric: "32-true" or "bf16-mixed".
        accelerator: of Lightning Fabric: "cpu", "cuda" or "auto".
        workers: processes, per device, that read and augment mini-batches ahead; 0: the training process does it.
        cuda_graphs: on one GPU, record each kind of step as a CUDA graph and replay it.
        devices, nodes: processes per machine, machines; together they share each mini-batch.

    Raises ModelError naming the option and the value.
    """

    epochs: int = 30
    batch_size: int = 64
    accumulate: int = 1
    learning_rate: float = 0.1
    warmup_epochs: float = 1.0
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    optimizer: Literal["sgd", "muon"] = "sgd"
    muon_learning_rate: float = 0.02
    muon_weight_decay: float = 0.05
    label_smoothing: float = 0.0
    backprop: Literal["random", "every", "stbp", "slices"] = "random"
    slice: int = 2
    loss: Literal["tet", "mean"] = "tet"
    sparsify: float = 0.0
    crop: int = 0
    resized_crop: bool = False
    flip: bool = False
    small_size: int = 0
    small_epochs: int = 0
    auto_augment: Literal["none", "cifar10", "imagenet", "svhn"] = "none"
    cutout: int = 0
    mixup: float = 0.0
    roll: int = 0
    test_every: int = 1
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accelerator: str = "cpu"
    workers: int = 0
    cuda_graphs: bool = True
    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        for option, allowed in CHOICES.items():
            if getattr(self, option) not in allowed:
                raise ModelError(f"{option} must be one of {', '.join(allowed)} (got {getattr(self, option)!r})")
        for option, (lowest, highest) in RANGES.items():
            value = getattr(self, option)
            kinds = int if isinstance(lowest, int) else int | float
            if isinstance(value, bool) or not isinstance(value, kinds) or not lowest <= value <= highest:
                kind = "a whole number" if kinds is int else "a number"
                raise ModelError(f"{option} must be {kind} within {lowest}..{highest} (got {value!r})")
        if self.loss == "mean" and self.backprop not in ("stbp", "slices"):
            raise ModelError(f"loss 'mean' needs several steps at once: backprop stbp, slices (got {self.backprop!r})")
        if self.backprop == "slices" and self.accumulate > 1:
            problem = "backprop 'slices' updates within a mini-batch: accumulate must be 1"
            raise ModelError(f"{problem} (got {self.accumulate})")
        for option in ("nesterov", "flip", "resized_crop", "cuda_graphs"):
            if not isinstance(getattr(self, option), bool):
                raise ModelError(f"{option} must be true or false (got {getattr(self, option)!r})")

    @property
    def augments(self) -> bool:
        """Whether any augmentation is switched on."""
        return any(getattr(self, option) not in (0, False, "none") for option in AUGMENTATION)

    def schedule(self, epoch: float) -> float:
        """Share of the peak learning rate at a point in time counted in epochs (fractions allowed)."""
        if epoch < self.warmup_epochs:
            return (epoch + 1e-3) / self.warmup_epochs
        progress = (epoch - self.warmup_epochs) / max(self.epochs - self.warmup_epochs, 1e-9)
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    def learning_rate_at(self, epoch: float) -> float:
        """Learning rate at a point in time counted in epochs (fractions allowed)."""
        return self.learning_rate * self.schedule(epoch)


@dataclass(frozen=True)
class RunConfig:
    """What a TOML file says: the data set, options of NetworkSpec, options of TrainingConfig; each may be left out."""

    data: str | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


def config_names() -> tuple[str, ...]:
    """The settings that come with the package."""
    return tuple(sorted(path.stem for path in CONFIG_FOLDER.glob("*.toml")))


def read_config(name_or_path: str | Path) -> RunConfig:
    """Read shipped settings by name, or a TOML file by path; raises ModelError naming the file and the key.

    Spikes without quantisation are written ``spike_bits = "float"``. ``like = "NAME or FILE.toml"`` takes over other
    settings (a path is seen from the file's own folder), of which the file then says what is different.
    """
    return _read(name_or_path, ())


def _read(name_or_path: str | Path, readers: tuple[Path, ...]) -> RunConfig:
    """``readers`` are like this one, the nearest last."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        name, known = str(name_or_path), config_names()
        if name not in known:
            raise ModelError(f"no settings are called {name!r}{nearest(name, known)}; there are {', '.join(known)}")
        path = CONFIG_FOLDER / f"{name_or_path}.toml"
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ModelError(f"{path}: not valid TOML ({error})") from None
    _check_keys(path, "", content, ("like", "data", "network", "training"))
    base = _like(path, content, readers)
    data, network = _text(path, content, "data", "the name of a data set"), _network(path, content)
    return RunConfig(data or base.data, {**base.network, **network}, _training(path, content, base.training))


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion to append to a message about an unknown name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _like(path: Path, content: Mapping[str, Any], readers: tuple[Path, ...]) -> RunConfig:
    """What a file takes over."""
    like = _text(path, content, "like", "the name or the path of settings")
    if like is None:
        return RunConfig()
    if path.resolve() in readers:
        raise ModelError(f"{path}: is like itself")
    try:
        return _read(path.parent / like if like.endswith(".toml") else like, (*readers, path.resolve()))
    except ModelError as error:
        raise ModelError(f"{path}: like: {error}") from None


def _text(path: Path, content: Mapping[str, Any], key: str, meaning: str) -> str | None:
    value = content.get(key)
    if value is not None and not isinstance(value, str):
        raise ModelError(f"{path}: {key} must be {meaning} (got {value!r})")
    return value


def _network(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    from .networks import NetworkSpec

    # what the data determine cannot be chosen
    known = {field.name for field in dataclasses.fields(NetworkSpec)} - {"input_shape", "classes", "event"}
    options = dict(_table(path, content, "network", known))
    if options.get("spike_bits") == "float":
        options["spike_bits"] = None
    return options


def _training(path: Path, content: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    known = {field.name for field in dataclasses.fields(TrainingConfig)}
    options = {**base, **_table(path, content, "training", known)}
    try:
        TrainingConfig(**options)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    return options


def _table(path: Path, content: Mapping[str, Any], name: str, known: Iterable[str]) -> Mapping[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise ModelError(f"{path}: {name} must be a table, [{name}]")
    _check_keys(path, f"[{name}] ", table, known)
    return table


def _check_keys(path: Path, where: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in table:
        if key not in set(known):
            raise ModelError(f"{path}: {where}{key} is no option{nearest(key, known)}")
