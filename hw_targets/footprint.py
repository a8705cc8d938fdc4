"""What a program takes of a microcontroller, as data; hmdf.export.c measures it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from hmdf.sim.finding import Finding

from .schema import Target

Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]


class Footprint(msgspec.Struct, frozen=True):
    """Memory and instructions of a program as C on one core."""

    flash_bytes: Annotated[Bytes, "constants and code"]
    ram_bytes: Annotated[Bytes, "what is written, the input of one time-step and the stack included"]
    flash_by_purpose: Annotated[dict[str, Bytes], "PURPOSE: constants, code"]
    ram_by_purpose: Annotated[dict[str, Bytes], "PURPOSE: membranes, arena, input, stack, other"]
    compiler: Annotated[str, "whose code and stack it is; empty where there was none, and both are missing"]
    instructions: Annotated[float | None, "executed for one sample in QEMU, mean over `instruction_samples`"] = None
    instruction_samples: Annotated[Bytes, "how many samples were run in QEMU; their logits are the simulator's"] = 0


Measure = Callable[[Target], tuple[Footprint, list[Finding]]]
"""Gives the footprint on a microcontroller, and why that does not fit."""
