"""A delay line, where paths of unequal depth meet."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess

from hmdf_lava.model import fixed_point_model_of


class Delay(AbstractProcess):
    """a_out(step) = s_in(step - steps), zeros before.

    Args:
        shape: of both ports.
        steps: >= 1.
    """

    def __init__(self, *, name: str, shape: tuple[int, ...], steps: int) -> None:
        super().__init__(name=name, shape=shape, steps=steps)
        self.s_in = InPort(shape=shape)
        self.a_out = OutPort(shape=shape)


@fixed_point_model_of(Delay)
class PyDelayModel(PyLoihiProcessModel):
    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.line = np.zeros((proc_params["steps"], *proc_params["shape"]), np.int32)

    def run_spk(self) -> None:
        slot = self.time_step % len(self.line)
        self.a_out.send(self.line[slot])
        self.line[slot] = self.s_in.recv()
