"""Augmentation of training batches with kornia: crop, flip, AutoAugment, Cutout, Mixup; flip and roll for events.

Every random choice follows from the seed given with the batch, so that an interrupted run can draw the same again.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hmdf.extras import require

from .config import TrainingConfig
from .data import Preprocessing, normalise
from .errors import DataError
from .networks import NetworkSpec

__all__ = ["Augmentation", "make_augmentation", "preparation"]

# AutoAugment draws one sub-policy per call; it is called on groups of this many images of a batch.
POLICY_GROUP = 8

CPU = torch.device("cpu")

# (raw inputs, labels, seed) -> (normalised inputs, labels or, with Mixup, one probability per class)
Augmentation = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def make_augmentation(spec: NetworkSpec, config: TrainingConfig, preprocessing: Preprocessing) -> Augmentation | None:
    """What ``config`` asks for, or None when that is nothing.

    The inputs are scaled to 0..1, augmented, and only then normalised: what a crop or Cutout fills in is a value that
    the raw data could have. Raises DataError for what events or grey images do not allow.
    """
    _check(spec, config)
    if not config.augments:
        return None
    transforms = _event_transforms(config) if spec.event else _image_transforms(spec, config, preprocessing)
    mixup = _kornia().RandomMixUpV2(p=config.mixup, data_keys=["input", "class"]) if config.mixup else None
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))

    def augment(raw: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            x = raw.float() / preprocessing.divisor
            for transform in transforms:
                x = transform(x)
            x = (x - mean.to(x.device)) / std.to(x.device)
            return (x, labels) if mixup is None else _mixed(mixup, x, labels, spec.classes)

    return augment


def preparation(
    spec: NetworkSpec, config: TrainingConfig, preprocessing: Preprocessing, device: torch.device = CPU
) -> Augmentation:
    """What makes raw samples ready for the network, on ``device``: augmentation if any, and normalisation."""
    augmentation = make_augmentation(spec, config, preprocessing)

    def prepare(raw: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        if augmentation is not None:
            return augmentation(raw.to(device), labels.to(device), seed)
        return torch.from_numpy(normalise(raw.numpy(), preprocessing)).to(device), labels.to(device)

    return prepare


def _check(spec: NetworkSpec, config: TrainingConfig) -> None:
    if spec.event:
        for option in ("crop", "resized_crop", "auto_augment", "cutout", "mixup"):
            if getattr(config, option) not in (0, False, "none"):
                raise DataError(f"{option} is for images; events can be augmented by flip and roll")
    elif config.roll:
        raise DataError("roll is for events; images can be augmented by crop")
    if config.auto_augment != "none" and spec.input_shape[0] != 3:
        raise DataError(f"auto_augment needs colour images (got {spec.input_shape[0]} channels)")


def _image_transforms(
    spec: NetworkSpec, config: TrainingConfig, preprocessing: Preprocessing
) -> list[Callable[[Tensor], Tensor]]:
    kornia = _kornia()
    size = spec.input_shape[1:]
    transforms: list[Callable[[Tensor], Tensor]] = []
    if config.resized_crop:
        transforms.append(kornia.RandomResizedCrop(size, scale=(0.08, 1.0)))
    if config.crop:
        transforms.append(kornia.RandomCrop(size, padding=config.crop, cropping_mode="slice"))
    if config.flip:
        transforms.append(kornia.RandomHorizontalFlip(p=0.5))
    if config.auto_augment != "none":
        policy = kornia.auto.AutoAugment(config.auto_augment)
        transforms.append(lambda x: torch.cat([policy(group) for group in x.split(POLICY_GROUP)]))
    if config.cutout:
        share = config.cutout**2 / (size[0] * size[1])
        grey = sum(preprocessing.mean) / len(preprocessing.mean)
        transforms.append(kornia.RandomErasing(p=1.0, scale=(share, share), ratio=(1.0, 1.0), value=grey))
    return transforms


def _event_transforms(config: TrainingConfig) -> list[Callable[[Tensor], Tensor]]:
    """The same for all frames (N, T, C, H, W) of a recording."""
    transforms: list[Callable[[Tensor], Tensor]] = []
    if config.flip:
        flip = _kornia().RandomHorizontalFlip(p=0.5)
        transforms.append(lambda x: flip(x.flatten(1, 2)).view_as(x))
    if config.roll:
        transforms.append(lambda x: _rolled(x, config.roll))
    return transforms


def _rolled(x: Tensor, reach: int) -> Tensor:
    """Each recording moved by its own offset within +-reach pixels; what leaves on one side comes in on the other."""
    offsets = torch.randint(-reach, reach + 1, (len(x), 2)).tolist()
    return torch.stack([frames.roll(offset, (-2, -1)) for frames, offset in zip(x, offsets, strict=True)])


def _mixed(mixup: Any, x: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """(images, probabilities (N, classes)); kornia has both labels of each mixed image and the second one's share."""
    mixed, pairs = mixup(x, labels)
    first, second, share = pairs.unbind(1)
    share = share[:, None]
    one, other = (functional.one_hot(label.long(), classes).float() for label in (first, second))
    return mixed, (1 - share) * one + share * other


def _kornia() -> Any:
    require("kornia.augmentation.auto", "augmentation")
    return require("kornia.augmentation")
