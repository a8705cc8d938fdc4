"""One reason why a program does not fit a target."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One reason why a program does not fit.

    Fields:
        node: synapse, population, "input", "readout" or "program".
        resource: what is short: "message_bits", "cores", "shared memory" ...
        needed, available: in the unit of the resource; a feature's name and what there is instead.
        message: what is wrong, in a sentence.
        fix: the smallest change that mends it, and its cost.
    """

    node: str
    resource: str
    needed: int | str
    available: int | str
    message: str
    fix: str
