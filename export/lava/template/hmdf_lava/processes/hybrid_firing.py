"""The HM-DF neuron."""

from __future__ import annotations

import numpy as np
from lava.magma.core.model.py.type import LavaPyType

from hmdf_lava.arithmetic import clamp, rshift
from hmdf_lava.model import fixed_point_model_of
from hmdf_lava.processes.population import Population, PyPopulationModel


class HybridFiring(Population):
    """m = clamp(rshift(leak[t,c] * v, leak_shift) + I, state range);  v <- min(m, threshold[t,c]);

    y = min(rshift(max(m - threshold[t,c], 0), spike_shift), largest message).

    Parameters: leak, threshold (int64 (T or 1, C or 1)), leak_shift, spike_shift. Var `v`: membrane.
    """

    STATES = ("v",)


@fixed_point_model_of(HybridFiring)
class PyHybridFiringModel(PyPopulationModel):
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)
    leak: np.ndarray = LavaPyType(np.ndarray, np.int64)
    threshold: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        membrane = clamp(self.leaked(t, self.leak, self.v) + current, self.state_range)
        threshold = self.at(t, self.threshold)
        self.v = np.minimum(membrane, threshold)
        return clamp(rshift(np.maximum(membrane - threshold, 0), self.proc_params["spike_shift"]), self.message_range)
