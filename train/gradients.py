"""The gradients of a mini-batch, in one block of memory that is kept from one mini-batch to the next."""

from collections.abc import Sequence

import torch
from torch import distributed, nn

from .distributed import processes

__all__ = ["Gradients"]


class Gradients:
    """Holds the gradients of ``parameters`` (all of one dtype, on one device).

        gradients.clear()
        ... backward passes, which accumulate in the parameters' ``grad`` ...
        gradients.finish()

    Gradients that are made anew in every backward pass lie between the activations of their time-step, where they stay
    when those are freed: the heap is left with gaps that the next step's activations do not fit into, and the memory of
    online training grows with T after all. In one block they are also one message to the other processes.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        sizes = [parameter.numel() for parameter in self.parameters]
        first = self.parameters[0]
        # behind the gradients, one number per parameter: how many processes used it
        self.block = torch.zeros(sum(sizes) + len(sizes), dtype=first.dtype, device=first.device)
        *parts, self.users = self.block.split([*sizes, len(sizes)])
        self.views = [
            part.as_strided(parameter.shape, parameter.stride(), part.storage_offset())
            for part, parameter in zip(parts, self.parameters, strict=True)
        ]
        self.used: set[nn.Parameter] = set()
        for parameter in self.parameters:
            parameter.register_post_accumulate_grad_hook(self.used.add)

    def clear(self) -> None:
        """Zero gradients, ready to be added to."""
        self.block.zero_()
        self.used.clear()
        for parameter, view in zip(self.parameters, self.views, strict=True):
            parameter.grad = view

    def finish(self) -> tuple[bool, ...]:
        """Sum the gradients over all processes; what no process used has none, so that no optimiser moves it.

        Returns which parameters have one.
        """
        used = torch.tensor([parameter in self.used for parameter in self.parameters])
        if processes() > 1:
            self.users.copy_(used)
            distributed.all_reduce(self.block)
            used = self.users.cpu() > 0
        for parameter, view, is_used in zip(self.parameters, self.views, used.tolist(), strict=True):
            parameter.grad = view if is_used else None
        return tuple(used.tolist())
