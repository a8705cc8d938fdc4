"""The HM-DF neuron without a membrane."""

from __future__ import annotations

import numpy as np
from lava.magma.core.model.py.type import LavaPyType

from hmdf_lava.arithmetic import clamp, rshift
from hmdf_lava.model import fixed_point_model_of
from hmdf_lava.processes.population import Population, PyPopulationModel


class ParallelFiring(Population):
    """y = min(rshift(max(I - threshold[t,c], 0), spike_shift), largest message).

    Parameters: threshold (int64 (T or 1, C or 1)), spike_shift.
    """


@fixed_point_model_of(ParallelFiring)
class PyParallelFiringModel(PyPopulationModel):
    threshold: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        excess = np.maximum(current - self.at(t, self.threshold), 0)
        return clamp(rshift(excess, self.proc_params["spike_shift"]), self.message_range)
