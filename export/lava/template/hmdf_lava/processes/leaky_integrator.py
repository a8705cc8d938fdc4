"""A leaky membrane that is sent itself."""

from __future__ import annotations

import numpy as np
from lava.magma.core.model.py.type import LavaPyType

from hmdf_lava.arithmetic import clamp, rshift
from hmdf_lava.model import fixed_point_model_of
from hmdf_lava.processes.population import Population, PyPopulationModel


class LeakyIntegrator(Population):
    """v <- clamp(rshift(leak[t,c] * v, leak_shift) + I, state range);

    y = clamp(rshift(v, message_shift), message range).

    Parameters: leak (int64 (T or 1, C or 1)), leak_shift, message_shift. Var `v`: membrane.
    """

    STATES = ("v",)


@fixed_point_model_of(LeakyIntegrator)
class PyLeakyIntegratorModel(PyPopulationModel):
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)
    leak: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        self.v = clamp(self.leaked(t, self.leak, self.v) + current, self.state_range)
        return clamp(rshift(self.v, self.proc_params["message_shift"]), self.message_range)
