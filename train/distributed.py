"""Several processes as one: BatchNorm over the joint batch, gradients summed over all processes.

Every process computes the loss of its share of a mini-batch, weighted by its number of samples; the sum over all
processes is then the loss of the joint mini-batch, and so is its gradient.
"""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn import functional as collective

from .fused import cpu

__all__ = ["JointBatchNorm2d", "join_batch_norms", "leave_at_exit", "processes", "separate_batches", "total_of"]


class JointBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose training statistics are those of all processes' inputs together, (N, C, H, W) -> the same.

    Works on CPU and GPU, and for batches of unequal size. The gradient flows through the joint statistics.
    """

    joint = True

    def forward(self, x: Tensor) -> Tensor:
        if self.fuses(x):
            y, statistics = cpu.batch_norm(x, self._norm())
            self._update_by(statistics)
            return y
        if not (self.training and self.joint and processes() > 1):
            return super().forward(x)
        values = x.float()
        own = torch.cat([values.sum((0, 2, 3)), values.new_tensor([values.numel() / values.shape[1]])])
        total = collective.all_reduce(own)
        count = total[-1]
        centred = values - (total[:-1] / count).view(1, -1, 1, 1)
        variance = collective.all_reduce(centred.square().sum((0, 2, 3))) / count
        self._update(total[:-1].detach() / count, variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)

    def fire(
        self, x: Tensor, v: Tensor | None, leak: Tensor, theta: Tensor, lsb: float, bits: int | None, membrane: bool
    ) -> tuple[Tensor, Tensor | None]:
        """`cpu.fire` of the normalised ``x``, where `fuses`: (spikes, new v)."""
        spikes, v, statistics = cpu.batch_norm_and_fire(x, self._norm(), v, leak, theta, lsb, bits, membrane)
        self._update_by(statistics)
        return spikes, v

    def fuses(self, x: Tensor) -> bool:
        """Whether `fused.cpu` has this norm of ``x``."""
        return cpu.fits(x) and (self.training or not torch.is_grad_enabled())

    def _norm(self) -> cpu.Norm:
        if self.training:
            return cpu.Norm(self.weight, self.bias, self.eps, self.joint and processes() > 1)
        assert self.running_mean is not None
        assert self.running_var is not None
        return cpu.Norm(self.weight, self.bias, self.eps, known=(self.running_mean, self.running_var))

    def _update_by(self, statistics: cpu.BatchStatistics) -> None:
        if self.training:
            mean, variance, values = statistics
            self._update(mean, variance * (values / (values - 1)))

    @torch.no_grad()
    def _update(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_variance, self.momentum)


def processes() -> int:
    """How many processes train together; 1 without a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def join_batch_norms(model: nn.Module) -> None:
    """Turn every BatchNorm2d of ``model`` into a JointBatchNorm2d, in place.

    Only the class changes: parameters, statistics and names stay, so that optimisers and checkpoints need not know.
    """
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = JointBatchNorm2d


@contextmanager
def separate_batches(model: nn.Module) -> Iterator[None]:
    """Within the block each process normalises by its own batch and waits for no other."""
    norms = [module for module in model.modules() if isinstance(module, JointBatchNorm2d)]
    for norm in norms:
        norm.joint = False
    try:
        yield
    finally:
        for norm in norms:
            norm.joint = True


def leave_at_exit() -> None:
    """End the communication before the interpreter ends: threads of it that still run then abort the process."""
    atexit.register(lambda: distributed.is_initialized() and distributed.destroy_process_group())


def total_of(figures: Tensor) -> Tensor:
    """The sum of ``figures`` over all processes."""
    if processes() > 1:
        distributed.all_reduce(figures)
    return figures
