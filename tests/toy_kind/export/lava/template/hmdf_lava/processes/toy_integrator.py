"""A leaky membrane that is sent as it is."""

from __future__ import annotations

import numpy as np
from hmdf_lava.arithmetic import clamp
from hmdf_lava.model import fixed_point_model_of
from hmdf_lava.processes.population import Population, PyPopulationModel
from lava.magma.core.model.py.type import LavaPyType


class ToyIntegrator(Population):
    """v <- clamp(rshift(leak * v, leak_shift) + I);  y = clamp(v, message range)."""

    STATES = ("v",)


@fixed_point_model_of(ToyIntegrator)
class PyToyIntegratorModel(PyPopulationModel):
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)
    leak: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        self.v = clamp(self.leaked(t, self.leak, self.v) + current, self.state_range)
        return clamp(self.v, self.message_range)
