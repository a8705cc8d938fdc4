"""Networks and samples for the compiler's tests, with normalisations that leave folding something to do."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hmdf.train.networks import NetworkSpec, build
from hmdf.train.neurons import reset, set_step


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """Give every BatchNorm and neuron random parameters: negative gains and tiny variances included. Eval mode."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator).to(like.dtype)

    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.copy_(normal(part.running_mean))
                part.running_var.copy_(normal(part.running_var).abs() + 0.05)
                part.running_var[:: max(2, len(part.running_var) // 2)] = 1e-6
                part.weight.copy_(normal(part.weight))
                part.weight[:: max(2, len(part.weight) // 2)] *= 1e-3
                part.weight[-1] = -3.0
                part.running_var[-1] = 0.5
                part.bias.copy_(normal(part.bias))
            for name in ("threshold_logit", "leak_logit", "alpha_logit", "beta_logit"):
                if hasattr(part, name):
                    getattr(part, name).copy_(normal(getattr(part, name)))
    return module.eval()


def settled(module: nn.Module, x: torch.Tensor, steps: int) -> nn.Module:
    """Let every BatchNorm see some data, so that currents have the size they have in a trained network. Eval mode."""
    module.train()
    with torch.no_grad():
        for _ in range(20):
            module_logits(module, x, steps)
    return module.eval()


def small(seed: int = 0, **options: object) -> nn.Module:
    spec = {"name": "small", "input_shape": (2, 8, 8), "classes": 5, "width": 8} | options
    torch.manual_seed(seed)
    return build(NetworkSpec(**spec))


def module_logits(module: nn.Module, x: torch.Tensor, steps: int) -> torch.Tensor:
    """Logits summed over all steps, of constant input (N, C, H, W) or frames (N, T, C, H, W)."""
    reset(module)
    total = torch.zeros(())
    for t in range(steps):
        set_step(module, t)
        total = total + module(x[:, t] if x.dim() == 5 else x)
    return total


def images(samples: int, shape: tuple[int, ...] = (2, 8, 8), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(samples, *shape))
