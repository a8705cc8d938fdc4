"""The leaky integrate-and-fire neuron with a soft reset."""

from __future__ import annotations

import numpy as np
from lava.magma.core.model.py.type import LavaPyType

from hmdf_lava.arithmetic import clamp
from hmdf_lava.model import fixed_point_model_of
from hmdf_lava.processes.population import Population, PyPopulationModel


class LeakyIntegrateAndFire(Population):
    """m = clamp(rshift(leak[t,c] * v, leak_shift) + I, state range);  y = [m >= threshold[t,c]];

    v <- m - y * threshold[t,c].

    Parameters: leak, threshold (int64 (T or 1, C or 1)), leak_shift. Var `v`: membrane.
    """

    STATES = ("v",)


@fixed_point_model_of(LeakyIntegrateAndFire)
class PyLeakyIntegrateAndFireModel(PyPopulationModel):
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)
    leak: np.ndarray = LavaPyType(np.ndarray, np.int64)
    threshold: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        membrane = clamp(self.leaked(t, self.leak, self.v) + current, self.state_range)
        threshold = self.at(t, self.threshold)
        spike = (membrane >= threshold).astype(np.int64)
        self.v = membrane - spike * threshold
        return spike
