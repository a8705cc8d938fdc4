"""Relay: passes a current on."""

from __future__ import annotations

import numpy as np

from hmdf_lava.arithmetic import clamp
from hmdf_lava.model import fixed_point_model_of
from hmdf_lava.processes.population import Population, PyPopulationModel


class Relay(Population):
    """y = clamp(I, message range)."""


@fixed_point_model_of(Relay)
class PyRelayModel(PyPopulationModel):
    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        return clamp(current, self.message_range)
