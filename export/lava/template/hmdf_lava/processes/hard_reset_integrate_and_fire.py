"""The leaky integrate-and-fire neuron with a hard reset."""

from __future__ import annotations

import numpy as np
from lava.magma.core.model.py.type import LavaPyType

from hmdf_lava.arithmetic import clamp
from hmdf_lava.model import fixed_point_model_of
from hmdf_lava.processes.population import Population, PyPopulationModel


class HardResetIntegrateAndFire(Population):
    """m = clamp(rshift(leak[t,c] * v, leak_shift) + I, state range);  y = [m >= threshold[t,c]];

    v <- reset[t,c] where y, else m.

    Parameters: leak, threshold, reset (int64 (T or 1, C or 1)), leak_shift. Var `v`: membrane.
    """

    STATES = ("v",)


@fixed_point_model_of(HardResetIntegrateAndFire)
class PyHardResetIntegrateAndFireModel(PyPopulationModel):
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)
    leak: np.ndarray = LavaPyType(np.ndarray, np.int64)
    threshold: np.ndarray = LavaPyType(np.ndarray, np.int64)
    reset: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        membrane = clamp(self.leaked(t, self.leak, self.v) + current, self.state_range)
        spike = membrane >= self.at(t, self.threshold)
        self.v = np.where(spike, self.at(t, self.reset), membrane)
        return spike.astype(np.int64)
