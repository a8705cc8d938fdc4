"""BatchNorm with running statistics of each time-step."""

import torch
from torch import Tensor, nn

from .neurons.temporal import Temporal


class StepBatchNorm2d(Temporal):
    """BatchNorm2d whose running statistics are each time-step's own; gain and shift are the same at all steps.

    Training normalises every step by its own batch. Where the steps differ, as an integrate-and-fire neuron's do that
    fires at every second step, a running statistic of all steps together is that of none of them.

    Attributes:
        norms: T BatchNorm2d(C) that share their weight and bias.
    """

    def __init__(self, channels: int, time_steps: int) -> None:
        super().__init__(time_steps)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(time_steps))
        for norm in self.norms[1:]:
            norm.weight, norm.bias = self.norms[0].weight, self.norms[0].bias

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) of the step, or (T*N, C, H, W) of all steps, normalised."""
        if self.step is not None:
            return self.norms[self.step](x)
        steps = x.unflatten(0, (self.time_steps, -1)).unbind(0)
        return torch.cat([norm(of_step) for norm, of_step in zip(self.norms, steps, strict=True)])
