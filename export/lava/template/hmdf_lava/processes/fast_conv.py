"""A faster model of Lava's Conv with identical output."""

from __future__ import annotations

import numpy as np
from lava.magma.core.model.py.type import LavaPyType
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.conv.utils import signed_clamp

from hmdf_lava.model import fixed_point_model_of


@fixed_point_model_of(Conv)
class PyFastConvModel(PyConvModelFixed):
    """One matrix product per kernel tap, where Lava's model calls SciPy once per pair of channels.

    The products are float64 (NumPy has no fast integer product) and exact: |weight| < 2^31 and the sums of an
    accumulator are integers below 2^53. The 24-bit wrap is Lava's.
    """

    a_buf: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)
    taps: np.ndarray | None = None

    def run_spk(self) -> None:
        self.a_out.send(self.a_buf)
        self.a_buf = self.clamp_precision(self._convolve(self.s_in.recv()))

    def clamp_precision(self, x: np.ndarray) -> np.ndarray:
        return signed_clamp(x, bits=24).astype(np.int32)

    def _convolve(self, message: np.ndarray) -> np.ndarray:
        """message (W, H, C_in) -> accumulator (W_out, H_out, C_out), int64."""
        (px, py), (sx, sy), (dx, dy) = self.padding.tolist(), self.stride.tolist(), self.dilation.tolist()
        padded = np.pad(message.astype(np.float64), ((px, px), (py, py), (0, 0)))
        width, height, channels_out = self.a_buf.shape
        groups = message.shape[2] // self.weight.shape[3]
        accumulator = np.zeros((groups, width * height, channels_out // groups))
        for u, v in np.ndindex(*self.weight.shape[1:3]):
            window = padded[u * dx :: sx, v * dy :: sy][:width, :height]
            columns = window.reshape(width * height, groups, -1).transpose(1, 0, 2)
            accumulator += columns @ self._tap(u, v)
        return accumulator.transpose(1, 0, 2).reshape(self.a_buf.shape).astype(np.int64)

    def _tap(self, u: int, v: int) -> np.ndarray:
        """Weights (groups, C_in/groups, C_out/groups) of tap (u, v); Lava stores the kernel flipped."""
        if self.taps is None:
            outputs, width, height, inputs = self.weight.shape
            groups = self.s_in.shape[2] // inputs
            flipped = self.weight[:, ::-1, ::-1, :].reshape(groups, outputs // groups, width, height, inputs)
            self.taps = np.ascontiguousarray(flipped.transpose(2, 3, 0, 4, 1), dtype=np.float64)
        return self.taps[u, v]
