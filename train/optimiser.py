"""SGD with momentum, and Muon for the low-bit weights, as one optimiser."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .config import TrainingConfig
from .synapses import LowBit

__all__ = ["Muon", "Optimiser", "orthogonal"]

# Of Muon's author: they make small singular values grow fastest.
NEWTON_SCHULZ = 3.4445, -4.775, 2.0315


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
        weights: convolution and linear weights; scalars: all others that are learned (norms, biases, neurons).
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.weights = [p for p in parameters if p.dim() >= 2]
        self.scalars = [p for p in parameters if p.dim() < 2]
        by_muon: list[Tensor] = []
        if config.optimizer == "muon":
            by_muon = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and isinstance(m, LowBit)]
        self.matrices = [(weight, nn.Parameter(_matrix(weight.detach()))) for weight in by_muon]
        taken = {id(weight) for weight in by_muon}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.weights if id(p) not in taken], "weight_decay": config.weight_decay},
            {"params": self.scalars, "weight_decay": 0.0},
        ]
        rate, momentum = config.learning_rate, config.momentum
        self.device = parameters[0].device
        # fused: all parameters in one kernel, whose rate may be a tensor
        nesterov = config.nesterov and momentum > 0
        sgd = torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, fused=self._on_gpu or None)
        self.parts: list[tuple[torch.optim.Optimizer, float]] = [(sgd, rate)]
        if self.matrices:
            matrices = [matrix for _, matrix in self.matrices]
            muon = Muon(matrices, config.muon_learning_rate, config.muon_weight_decay)
            self.parts.append((muon, config.muon_learning_rate))
        self._fit_to_device()

    @property
    def _on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def _fit_to_device(self) -> None:
        """Give a new or loaded state the form for this device.

        On a GPU the rates lie in its memory, so that a recorded step reads what they are then, and momentum is there
        from the start: fused SGD cannot begin with some parameters later than with others.
        """
        for part, _ in self.parts:
            for group in part.param_groups:
                rate = float(group["lr"])
                group["lr"] = torch.tensor(rate, device=self.device) if self._on_gpu else rate
                for parameter in group["params"] if self._on_gpu and group["momentum"] else ():
                    if part.state[parameter].get("momentum_buffer") is None:
                        part.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def set_rate(self, share: float) -> None:
        """Learning rates, as a share of their peaks."""
        for part, peak in self.parts:
            for group in part.param_groups:
                if self._on_gpu:
                    group["lr"].fill_(share * peak)
                else:
                    group["lr"] = share * peak

    def step(self) -> None:
        """One update; parameters without a gradient stay."""
        for weight, matrix in self.matrices:
            matrix.grad = None if weight.grad is None else _matrix(weight.grad)
        for part, _ in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors."""
        states = [part.state_dict() for part, _ in self.parts]
        for state in states:
            for group in state["param_groups"]:
                group["lr"] = float(group["lr"])
        return {"parts": states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of state_dict; raises KeyError or ValueError for the state of another optimiser."""
        for (part, _), found in zip(self.parts, state["parts"], strict=True):
            # where a run goes on may be another device than where it was
            part.load_state_dict({**found, "param_groups": self._kept(part, found["param_groups"])})
        self._fit_to_device()

    @staticmethod
    def _kept(part: torch.optim.Optimizer, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The groups of a state with this machine's choice of kernels."""
        kernels = {"foreach", "fused"}
        now = [{name: value for name, value in group.items() if name in kernels} for group in part.param_groups]
        return [{**group, **own} for group, own in zip(found, now, strict=True)]


class Muon(torch.optim.Optimizer):
    """Muon (Jordan 2024) for matrices, in their own precision:

        buffer = momentum buffer + (1 - momentum) gradient
        W = (1 - rate decay) W - rate sqrt(max(1, rows / columns)) orthogonal((1 - momentum) gradient + momentum buffer)

    torch.optim.Muon is the same in bfloat16, which is slower than everything else in a step where the processor has no
    instructions for it.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                buffer = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonal(matrix.grad.lerp(buffer, group["momentum"]))
                rows, columns = matrix.shape
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                if isinstance(rate, Tensor):
                    matrix.sub_(update.mul_(rate))
                else:
                    matrix.add_(update, alpha=-rate)


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly U V^T of the singular value decomposition: singular values come to lie within about 0.7 to 1.2.

    Five steps X <- (a + b A + c A^2) X, A = X X^T, of Newton and Schulz with the published coefficients. All that
    happens to X is a factor from the left that commutes with A; only these square matrices are iterated.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    gram = wide @ wide.T
    one = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor = one
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        step = torch.addmm(a * one + b * gram, gram, gram, alpha=c)
        factor = step @ factor
        gram = step @ gram @ step
    wide = factor @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


def _matrix(weight: Tensor) -> Tensor:
    """(C_out, C_in, Kh, Kw) as (C_out, C_in Kh Kw) in the order of memory; no copy."""
    order = sorted(range(1, weight.dim()), key=weight.stride, reverse=True)
    return weight.permute(0, *order).view(len(weight), -1)
