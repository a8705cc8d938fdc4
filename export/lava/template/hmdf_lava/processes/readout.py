"""The read-out: sums the classifier's accumulators over the steps of a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var

from hmdf_lava.model import fixed_point_model_of


class Readout(AbstractProcess):
    """logits[sample] = sum over t of (a_in + bias).

    Args:
        bias: int64 (classes,).
        period: T, steps of a sample.
        latency: steps by which the first sample's first accumulator is late.
        before: whether a_in brings what was sent at the step before; at the first step of a sample it is taken for 0.
        logits: path of an .npy file, int64 (N, classes), that the model fills.
    """

    def __init__(self, *, name: str, bias: np.ndarray, period: int, latency: int, before: bool, logits: str) -> None:
        super().__init__(name=name, period=period, latency=latency, before=before, logits=logits)
        self.a_in = InPort(shape=bias.shape)
        self.bias = Var(shape=bias.shape, init=bias)


@fixed_point_model_of(Readout)
class PyReadoutModel(PyLoihiProcessModel):
    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    bias: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.logits = np.load(proc_params["logits"], mmap_mode="r+", allow_pickle=False)

    def run_spk(self) -> None:
        accumulator = self.a_in.recv()
        step = self.time_step - 1 - self.proc_params["latency"]
        sample, t = divmod(step, self.proc_params["period"])
        if t == 0 and self.proc_params["before"]:
            accumulator = np.zeros_like(accumulator)
        if 0 <= sample < len(self.logits):
            self.logits[sample] += accumulator + self.bias
