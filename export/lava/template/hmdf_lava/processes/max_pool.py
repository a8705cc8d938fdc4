"""Max-pooling, which Lava does not have."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess

from hmdf_lava.model import fixed_point_model_of


class MaxPool(AbstractProcess):
    """a_out = largest message of each window, one step later, like every connection; padding never wins.

    Args:
        input_shape, output_shape: (W, H, C).
        kernel, stride, padding: (x, y).
    """

    def __init__(
        self,
        *,
        name: str,
        input_shape: tuple[int, int, int],
        output_shape: tuple[int, int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> None:
        super().__init__(name=name, output_shape=output_shape, kernel=kernel, stride=stride, padding=padding)
        self.s_in = InPort(shape=input_shape)
        self.a_out = OutPort(shape=output_shape)


@fixed_point_model_of(MaxPool)
class PyMaxPoolModel(PyLoihiProcessModel):
    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.largest = np.zeros(proc_params["output_shape"], np.int32)

    def run_spk(self) -> None:
        self.a_out.send(self.largest)
        (px, py), (sx, sy) = self.proc_params["padding"], self.proc_params["stride"]
        lowest = np.iinfo(np.int32).min
        padded = np.pad(self.s_in.recv(), ((px, px), (py, py), (0, 0)), constant_values=lowest)
        width, height, _ = self.largest.shape
        self.largest = np.full(self.largest.shape, lowest, np.int32)
        for u in range(self.proc_params["kernel"][0]):
            for v in range(self.proc_params["kernel"][1]):
                np.maximum(self.largest, padded[u::sx, v::sy][:width, :height], out=self.largest)
