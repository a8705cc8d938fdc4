"""Relay: passes a current on."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from hmdf_lava.arithmetic import clamp
from hmdf_lava.processes.population import Population, PyPopulationModel


class Relay(Population):
    """y = clamp(I, message range)."""


@implements(proc=Relay, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRelayModel(PyPopulationModel):
    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        return clamp(current, self.message_range)
