"""A function of the current, as a table."""

from __future__ import annotations

import numpy as np
from lava.magma.core.model.py.type import LavaPyType

from hmdf_lava.arithmetic import clamp, rshift
from hmdf_lava.model import fixed_point_model_of
from hmdf_lava.processes.population import Population, PyPopulationModel


class LookupTable(Population):
    """y = table[clamp(rshift(I, index_shift), -128, 127) + 128].

    Parameters: table (int64 (256,)), index_shift.
    """


@fixed_point_model_of(LookupTable)
class PyLookupTableModel(PyPopulationModel):
    table: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        return self.table[clamp(rshift(current, self.proc_params["index_shift"]), (-128, 127)) + 128]
