"""A function of the current as a table: the sigmoid of channel attention."""

from __future__ import annotations

import numpy as np

from ...arithmetic import Integers, rshift
from ..intervals import Bounds
from ..neurons import NeuronBounds, Neurons
from ..parameters import Shift, Table256
from .base import BaseDynamics, Facts

_INDEX = (-128, 127)


class LookupTable(BaseDynamics, tag="lookup_table"):
    """y = table[clamp(rshift(I, index_shift), -128, 127) + 128]."""

    table: Table256
    index_shift: Shift

    facts = Facts()

    def step(self, current: Integers, t: int, neurons: Neurons) -> Integers:
        return self.table[neurons.limit_index(rshift(current, self.index_shift), _INDEX) + 128].astype(np.int64)

    def bounds(self, current: Bounds, t: int, neurons: NeuronBounds) -> Bounds:
        index = neurons.limit_index(current.shifted(self.index_shift), _INDEX)
        spans = [self.table[a + 128 : b + 129] for a, b in zip(index.low, index.high, strict=True)]
        low, high = ([int(limit(s)) for s in spans] for limit in (np.min, np.max))
        return neurons.limit_message(Bounds(np.array(low, dtype=object), np.array(high, dtype=object)))
