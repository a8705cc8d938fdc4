"""Sparse training: weights below a threshold that grows take no part (STDS, Chen 2022; LM-H, ICLR 2024, eq. S1, S2)."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .synapses import LowBit

__all__ = ["Sparsifier", "dead_layers", "shrunk", "threshold_at", "zeros_of"]


class Sparsifier:
    """Lets all convolutions and linear layers of a model compute with sign(w) max(|w| - d, 0) in the place of w.

    The gradient passes to w as if nothing were cut off, so that a weight may come back:

        with sparsifier.at(progress):       # 0..1 of the training
            ...                             # forward and backward
            with sparsifier.opened():       # the weights w themselves
                optimiser.step()

    Args:
        degree: D, what d is at the end; at 0 nothing is done.
    """

    def __init__(self, model: nn.Module, degree: float) -> None:
        self.degree = degree
        layers = _layers(model) if degree > 0 else {}
        self.weights = {f"{name}.weight": layer.weight for name, layer in layers.items()}
        self.threshold = 0.0
        self.kept: dict[str, Tensor] = {}

    @contextmanager
    def at(self, progress: float) -> Iterator[None]:
        """The model with shrunk weights within the block."""
        self.threshold = threshold_at(self.degree, progress)
        self._cut()
        try:
            yield
        finally:
            self._restore()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Within ``at``: the weights themselves, which may be changed."""
        self._restore()
        try:
            yield
        finally:
            self._cut()

    def applied(self, state: Mapping[str, Tensor], progress: float) -> dict[str, Tensor]:
        """A state_dict of the weights w with shrunk ones."""
        threshold = threshold_at(self.degree, progress)
        return {name: shrunk(w, threshold) if name in self.weights else w for name, w in state.items()}

    @torch.no_grad()
    def _cut(self) -> None:
        for name, weight in self.weights.items():
            self.kept[name] = weight.detach().clone()
            weight.copy_(shrunk(weight, self.threshold))

    @torch.no_grad()
    def _restore(self) -> None:
        for name, weight in self.weights.items():
            weight.copy_(self.kept[name])


def threshold_at(degree: float, progress: float) -> float:
    """d = D (sin(pi progress - pi / 2) + 1) / 2 (eq. S2)."""
    return degree * (math.sin(math.pi * progress - math.pi / 2) + 1) / 2


def shrunk(weight: Tensor, threshold: float) -> Tensor:
    """sign(w) max(|w| - d, 0) (eq. S1)."""
    return weight.sign() * (weight.abs() - threshold).clamp(min=0)


def dead_layers(model: nn.Module) -> list[str]:
    """The convolutions and linear layers of which every weight is 0, low-bit ones as quantised."""
    return [name for name, layer in _layers(model).items() if not _weight(layer).any()]


def zeros_of(model: nn.Module) -> tuple[int, int]:
    """(weights that are 0, all weights) of the convolutions and linear layers, low-bit ones as quantised."""
    weights = [_weight(layer) for layer in _layers(model).values()]
    return sum(int((weight == 0).sum()) for weight in weights), sum(weight.numel() for weight in weights)


def _weight(layer: nn.Conv2d | nn.Linear) -> Tensor:
    return layer.quantized()[0] if isinstance(layer, LowBit) else layer.weight


def _layers(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
