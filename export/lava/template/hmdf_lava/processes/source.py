"""Sends the input messages, sample after sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess

from hmdf_lava.model import fixed_point_model_of


class Source(AbstractProcess):
    """Sends messages[n // period, n mod period] at logical step n = time_step - 1, zeros after the last sample.

    Args:
        shape: (C, H, W) or (F,).
        messages: path of an .npy file (N, 1 or period, *shape); 1 = the same array at every step.
        period: T, steps of a sample.

    Ports: `s_out` (W, H, C) and `flat_out` (C*H*W,) in C order of `shape`.
    """

    def __init__(self, *, name: str, shape: tuple[int, ...], messages: str, period: int) -> None:
        super().__init__(name=name, messages=messages, period=period)
        self.s_out = OutPort(shape=tuple(reversed(shape)))
        self.flat_out = OutPort(shape=(int(np.prod(shape)),))


@fixed_point_model_of(Source)
class PySourceModel(PyLoihiProcessModel):
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    flat_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.messages = np.load(proc_params["messages"], mmap_mode="r", allow_pickle=False)
        self.period: int = proc_params["period"]

    def run_spk(self) -> None:
        sample, t = divmod(self.time_step - 1, self.period)
        if sample < len(self.messages):
            message = self.messages[sample, t % self.messages.shape[1]].astype(np.int32)
        else:
            message = np.zeros(self.messages.shape[2:], np.int32)
        self.s_out.send(message.transpose())
        self.flat_out.send(message.reshape(-1))
