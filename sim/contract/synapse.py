"""Synapses: weights without state."""

from __future__ import annotations

from ..errors import ProgramError
from .ops import Op, WeightedOp
from .struct import Contract, Shape, check_name


class Synapse(Contract, tag="synapse"):
    """Turns the message of `source` into an exact integer accumulator.

    Attributes:
        name: unique among the nodes.
        source: a population, or "input".
        op: the connection pattern with its geometry and weights.
        delay: 1 where it reads what a population, any one, sent at the step before, 0 at the first step: recurrence.
    """

    name: str
    source: str
    op: Op
    delay: int = 0

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.delay not in (0, 1):
            raise ProgramError(f"synapse '{self.name}': its delay is {self.delay}; 0 and 1 are possible")
        if isinstance(self.op, WeightedOp):
            try:
                self.op.check()
            except ProgramError as error:
                raise ProgramError(f"synapse '{self.name}': {error}") from None

    def output_shape(self, source: Shape) -> Shape:
        """Shape of the accumulator for a source of shape (C, H, W) or (F,).

        Raises:
            ProgramError: the weight or the geometry does not fit the source.
        """
        try:
            return self.op.output_shape(source)
        except ProgramError as error:
            raise ProgramError(f"synapse '{self.name}': {error}") from None
