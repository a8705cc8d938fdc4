"""The HM-DF neuron."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from hmdf_lava.arithmetic import clamp, rshift
from hmdf_lava.processes.population import Population, PyPopulationModel


class HybridFiring(Population):
    """m = clamp(rshift(leak[t,c] * v, leak_shift) + I, state range);  v <- min(m, threshold[t,c]);

    y = min(rshift(max(m - threshold[t,c], 0), spike_shift), largest message).

    Parameters: leak, threshold (int64 (T or 1, C or 1)), leak_shift, spike_shift. Var `v`: membrane.
    """

    def __init__(self, *, shape: tuple[int, ...], **arguments: Any) -> None:
        super().__init__(shape=shape, **arguments)
        self.v = Var(shape=shape, init=0)


@implements(proc=HybridFiring, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyHybridFiringModel(PyPopulationModel):
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)
    leak: np.ndarray = LavaPyType(np.ndarray, np.int64)
    threshold: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def reset(self) -> None:
        self.v[:] = 0

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        leaked = rshift(self.at(t, self.leak) * self.v, self.proc_params["leak_shift"])
        membrane = clamp(leaked + current, self.state_range)
        threshold = self.at(t, self.threshold)
        self.v = np.minimum(membrane, threshold)
        return clamp(rshift(np.maximum(membrane - threshold, 0), self.proc_params["spike_shift"]), self.message_range)
