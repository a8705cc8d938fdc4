"""Tensors as the loops take them, and the integers that a tensor of spikes carries."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

NOTHING = torch.empty(0)
"""In the place of a membrane that is not there."""


def fits(x: Tensor) -> bool:
    """Whether ``x`` (N, C, H, W) is what the functions of this package take."""
    return (
        x.dim() == 4
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.device.type == "cpu"
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def attach_messages(spikes: Tensor, messages: Tensor, lsb: float) -> None:
    """Let ``spikes`` carry its integers: spikes = messages (uint8, same shape) * lsb.

    They are lost in any operation on the tensor, as they must be.
    """
    spikes.messages = messages, lsb  # type: ignore[attr-defined]


def messages_of(x: Tensor) -> tuple[Tensor, float] | None:
    """The integers that ``x`` carries and its LSB, or None."""
    return getattr(x, "messages", None)


def flat(x: Tensor) -> NDArray[Any]:
    """All elements of a dense tensor in the order of memory, of bfloat16 the bits; no copy."""
    all_of_x = x.detach().as_strided((x.numel(),), (1,))
    return (all_of_x.view(torch.uint16) if x.dtype == torch.bfloat16 else all_of_x).numpy()
