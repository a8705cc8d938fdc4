"""SGD with Nesterov momentum, and Muon for the low-bit weights, as one optimiser."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .config import TrainingConfig
from .synapses import LowBit

__all__ = ["Optimiser"]


class Optimiser:
    """Updates a model's parameters by their gradients.

        optimiser.set_rate(share of the peak learning rates)
        optimiser.step()

    With ``config.optimizer`` "sgd" all parameters are updated by SGD. With "muon" the weights of low-bit convolutions
    are updated by Muon (Jordan 2024: momentum, then the nearest semi-orthogonal matrix, (C_out, C_in Kh Kw)): the
    latent weight of a synapse decides with its sign and its size relative to the others alone, so that what counts is
    in which direction all of them move, not how far.

    Weight decay only where a scale is free: convolution and linear weights. Decay would pull the neurons' logits to 0.5
    whatever the data say, and turn an infinite one (alpha = 1) into NaN.

    Attributes:
        weights: convolution and linear weights; scalars: all other parameters (norms, biases, neurons).
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        parameters = list(model.parameters())
        self.weights = [p for p in parameters if p.dim() >= 2]
        self.scalars = [p for p in parameters if p.dim() < 2]
        by_muon = []
        if config.optimizer == "muon":
            by_muon = [m.weight for m in model.modules() if isinstance(m, LowBit) and isinstance(m, nn.Conv2d)]
        self.matrices = [(weight, nn.Parameter(_matrix(weight.detach()))) for weight in by_muon]
        taken = {id(weight) for weight in by_muon}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.weights if id(p) not in taken], "weight_decay": config.weight_decay},
            {"params": self.scalars, "weight_decay": 0.0},
        ]
        rate, momentum = config.learning_rate, config.momentum
        sgd = torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0)
        self.parts: list[tuple[torch.optim.Optimizer, float]] = [(sgd, rate)]
        if self.matrices:
            matrices = [matrix for _, matrix in self.matrices]
            muon = torch.optim.Muon(matrices, lr=config.muon_learning_rate, weight_decay=config.muon_weight_decay)
            self.parts.append((muon, config.muon_learning_rate))

    def set_rate(self, share: float) -> None:
        """Learning rates, as a share of their peaks."""
        for part, peak in self.parts:
            for group in part.param_groups:
                group["lr"] = share * peak

    def step(self) -> None:
        """One update; parameters without a gradient stay."""
        for weight, matrix in self.matrices:
            matrix.grad = None if weight.grad is None else _matrix(weight.grad)
        for part, _ in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors."""
        return {"parts": [part.state_dict() for part, _ in self.parts]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of state_dict; raises KeyError or ValueError for the state of another optimiser."""
        for (part, _), found in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(found)


def _matrix(weight: Tensor) -> Tensor:
    """(C_out, C_in, Kh, Kw) as (C_out, C_in Kh Kw) in the order of memory; no copy."""
    order = sorted(range(1, weight.dim()), key=weight.stride, reverse=True)
    return weight.permute(0, *order).view(len(weight), -1)
