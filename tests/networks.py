"""Networks and samples for the compiler's tests, with normalisations that leave folding something to do."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import torch
from torch import nn

import hmdf
from hmdf.export.config import Config
from hmdf.sim.encoder import encode
from hmdf.sim.program import Program
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.neurons import reset, set_step
from hmdf.train.neurons.multi_hierarchical import LOWEST


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
            factors = (f"{name}_logit" for name in LOWEST)
            for name in ("threshold_logit", "leak_logit", "alpha_logit", "beta_logit", *factors):
                if hasattr(part, name):
                    getattr(part, name).copy_(normal(getattr(part, name)))
    return module.eval()


def settled(module: nn.Module, x: torch.Tensor, steps: int) -> nn.Module:
    """Give every BatchNorm the statistics of some data, so that currents have the size they have in a trained network.
    Eval mode."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the mean over all steps
        norm.reset_running_stats()
    with torch.no_grad():
        module_logits(module.train(), x, steps)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.running_var.mul_(0.98).add_(0.02)  # of few samples it can be 0
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


def hostile(seed: int) -> tuple[nn.Module, torch.Tensor, Config]:
    """A small network in a random variant whose normalisations and neurons have random, extreme parameters."""
    choose = random.Random(seed).choice
    torch.manual_seed(seed)
    spec = NetworkSpec(
        name=choose(["small", "small", "resnet18", "vgg-snn"]),
        input_shape=(2, 16, 16),
        classes=choose([1, 5]),
        weights=choose(["ternary", "binary"]),
        neuron=choose(["plain", "mpbn", "parallel", "lif" if seed % 2 else "lm-h-radical"]),
        seca=choose(["none", "I", "II" if seed % 3 else "II-gate"]),
        pool=choose(["average", "max"]),
        spike_bits=choose([1, 4, None]),
        spike_lsb=choose([0.25, 1e-3, 8.0]),
        time_steps=choose([1, 2]),
        width=choose([1, 3]),
    )
    if spec.spike_bits == 4 and seed % 3 == 0:
        spec = replace(spec, activation="power-of-two")
    module = build(spec).eval()
    with torch.no_grad():
        for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.normal_(0, choose([0, 0.1, 1, 50]))
            norm.bias.normal_(0, choose([0, 0.1, 20]))
            norm.running_var.uniform_(1e-8, choose([1e-6, 1, 1e4]))
        for name, parameter in module.named_parameters():
            if name.endswith("_logit"):
                parameter.normal_(0, choose([0, 1, 100]))
    x = torch.randn(4, 2, 16, 16) * choose([0, 1e-6, 1, 1e6])
    return module, x, Config(message_bits=choose([16, 2]), gate_bits=choose([8, 2, 15]), weight_bits=choose([8, 4]))


def compiled_hostile(seed: int) -> tuple[Program, np.ndarray]:
    """The program of a hostile network, for Loihi 2, and its input messages; CompileError where it is refused."""
    module, x, config = hostile(seed)
    program = hmdf.compile(module, x[:1], target="loihi2", calibration=x, config=config).program
    return program, encode(program, x.numpy().astype(np.float64))
