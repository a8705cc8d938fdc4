"""The LM-H neuron: a dendrite and a soma, coupled."""

from __future__ import annotations

import numpy as np
from lava.magma.core.model.py.type import LavaPyType

from hmdf_lava.arithmetic import clamp
from hmdf_lava.model import fixed_point_model_of
from hmdf_lava.processes.population import Population, PyPopulationModel


class MultiHierarchical(Population):
    """d <- clamp(rshift(dendrite_leak[t,c] * d, s) + rshift(dendrite_feedback[t,c] * v, s) + I, state range);

    m = clamp(rshift(soma_leak[t,c] * v, s) + rshift(soma_drive[t,c] * d, s), state range);
    y = [m >= threshold[t,c]];  v <- m - y * threshold[t,c].

    Parameters: dendrite_leak, dendrite_feedback, soma_leak, soma_drive, threshold (int64 (T or 1, C or 1)),
    leak_shift (s). Vars `d`: dendrite, `v`: soma.
    """

    STATES = ("d", "v")


@fixed_point_model_of(MultiHierarchical)
class PyMultiHierarchicalModel(PyPopulationModel):
    d: np.ndarray = LavaPyType(np.ndarray, np.int64)
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)
    dendrite_leak: np.ndarray = LavaPyType(np.ndarray, np.int64)
    dendrite_feedback: np.ndarray = LavaPyType(np.ndarray, np.int64)
    soma_leak: np.ndarray = LavaPyType(np.ndarray, np.int64)
    soma_drive: np.ndarray = LavaPyType(np.ndarray, np.int64)
    threshold: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        dendrite = self.leaked(t, self.dendrite_leak, self.d) + self.leaked(t, self.dendrite_feedback, self.v)
        self.d = clamp(dendrite + current, self.state_range)
        soma = self.leaked(t, self.soma_leak, self.v) + self.leaked(t, self.soma_drive, self.d)
        membrane = clamp(soma, self.state_range)
        threshold = self.at(t, self.threshold)
        spike = (membrane >= threshold).astype(np.int64)
        self.v = membrane - spike * threshold
        return spike
