"""What else trains the same network: a plain PyTorch loop of the paper's algorithm, and SpikingJelly.

Both are the ResNet-18 of `hmdf.train.networks` (pre-activation blocks on a real-valued stream, 3x3 stem), written
anew, so that they owe nothing to what makes hmdf fast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = (2, 2, 2, 2)
LEARNING_RATE = 0.01


class TernaryConv2d(nn.Conv2d):
    """Weights {-1, 0, 1} times a scale, quantised at every call; the gradient passes straight through."""

    def forward(self, x: Tensor) -> Tensor:
        magnitude = self.weight.detach().abs()
        kept = magnitude > 0.7 * magnitude.mean()
        quantised = self.weight.detach().sign() * kept * magnitude[kept].mean()
        return self._conv_forward(x, self.weight + (quantised - self.weight).detach(), None)


class HybridNeuron(nn.Module):
    """HM-DF eq. 3 with 4-bit spikes, its state cut between time-steps; without membrane if `parallel` (fig. 2a)."""

    def __init__(self, steps: int, parallel: bool) -> None:
        super().__init__()
        self.leak, self.threshold = nn.Parameter(torch.zeros(steps)), nn.Parameter(torch.zeros(steps))
        self.parallel, self.step, self.v = parallel, 0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        theta = self.threshold[self.step].sigmoid()
        m = x if self.parallel else self.leak[self.step].sigmoid() * self.v + x
        s = functional.relu(m - theta)
        self.v = (m - s).detach()
        quantised = (s / 0.25).round().clamp(0, 15) * 0.25
        return s + (quantised - s).detach()


class Block(nn.Module):
    def __init__(
        self, conv: Callable[..., nn.Module], norm: Any, neuron: Any, c_in: int, c_out: int, stride: int
    ) -> None:
        super().__init__()
        self.act1, self.act2 = neuron(parallel=False), neuron(parallel=True)
        self.conv1 = conv(c_in, c_out, 3, stride, 1, bias=False)
        self.conv2 = conv(c_out, c_out, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = norm(c_out), norm(c_out)
        same = stride == 1 and c_in == c_out
        self.shortcut = nn.Identity() if same else nn.Sequential(conv(c_in, c_out, 1, stride, bias=False), norm(c_out))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(self.conv1(self.act1(x)))
        return self.norm2(self.conv2(self.act2(h))) + self.shortcut(x)


def resnet18(width: int, conv: Any, first: Any, norm: Any, neuron: Any, pool: nn.Module, last: Any) -> nn.Sequential:
    layers: list[nn.Module] = [first(3, width, 3, 1, 1, bias=False), norm(width)]
    channels = width
    for stage, depth in enumerate(BLOCKS):
        for index in range(depth):
            c_out = width * 2**stage
            layers.append(Block(conv, norm, neuron, channels, c_out, 2 if stage and not index else 1))
            channels = c_out
    return nn.Sequential(*layers, pool, last(channels, 10))


def optimiser_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)


def plain_torch(width: int, steps: int, x: Tensor, labels: Tensor) -> Callable[[int], None]:
    """A mini-batch of random BP (HM-DF A.1): every step runs, the drawn one alone is differentiated."""
    head = partial(nn.Linear)
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    neuron = partial(HybridNeuron, steps)
    model = resnet18(width, TernaryConv2d, nn.Conv2d, nn.BatchNorm2d, neuron, pool, head)
    neurons = [module for module in model.modules() if isinstance(module, HybridNeuron)]
    optimiser = optimiser_of(model)

    def train(drawn: int) -> None:
        for cell in neurons:
            cell.v = 0.0
        for step in range(steps):
            for cell in neurons:
                cell.step = step
            with torch.set_grad_enabled(step == drawn):
                logits = model(x)
            if step == drawn:
                functional.cross_entropy(logits, labels).backward()
        optimiser.step()
        optimiser.zero_grad()

    return train


def spikingjelly(width: int, steps: int, x: Tensor, labels: Tensor) -> Callable[[int], None]:
    """A mini-batch of STBP in SpikingJelly: LIF, 32-bit weights, multi-step layers."""
    from spikingjelly.activation_based import functional as spiking
    from spikingjelly.activation_based import layer, neuron, surrogate

    def lif(parallel: bool) -> nn.Module:
        return neuron.LIFNode(surrogate_function=surrogate.ATan(), detach_reset=True)

    pool = nn.Sequential(layer.AdaptiveAvgPool2d(1), layer.Flatten())
    model = resnet18(width, layer.Conv2d, layer.Conv2d, layer.BatchNorm2d, lif, pool, layer.Linear)
    spiking.set_step_mode(model, "m")
    optimiser = optimiser_of(model)

    def train(_drawn: int) -> None:
        functional.cross_entropy(model(x.expand(steps, *x.shape)).mean(0), labels).backward()
        optimiser.step()
        optimiser.zero_grad()
        spiking.reset_net(model)

    return train
