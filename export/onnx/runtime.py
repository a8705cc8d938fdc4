"""The executor that runs a Program in plain onnxruntime on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from hmdf.extras import require
from hmdf.sim.contract import INPUT
from hmdf.sim.errors import InputError
from hmdf.sim.executor import Taps, check_messages
from hmdf.sim.program import Program

from .model import export_onnx, tap_name


class OnnxRuntime:
    """Runs the very model that is written for users, with taps, in onnxruntime.

    Messages enter as the float32 values message * scale, so that the model's own encoder takes part; its result
    is read back and must be the messages.

    Args:
        threads: threads within an operator; 0 = onnxruntime's choice.
    """

    name = "onnx"

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads
        self._program: Program | None = None

    def run(self, program: Program, messages: np.ndarray) -> Taps:
        """Run N samples through all T steps.

        Args:
            messages: integers (N, 1 or T, *input shape) within the input's message range.

        Raises:
            InputError: the array does not fit the program, or its scale is beyond float32.
            MissingExtraError: onnxruntime is not installed.
        """
        check_messages(program, messages)
        if program is not self._program:
            self._session, self._program = _session(program, self.threads), program
        if program.input.timing == "constant":
            messages = messages[:, 0]
        x = (messages * np.float64(program.input.message.scale)).astype(np.float32)
        names = [output.name for output in self._session.get_outputs()]
        outputs = dict(zip(names, self._session.run(names, {INPUT: x}), strict=True))
        if not np.array_equal(outputs[tap_name(INPUT)], messages):
            raise InputError(
                f"input messages x scale {program.input.message.scale} are not distinct float32 values: "
                "the ONNX model cannot be given this input"
            )
        return Taps({p.name: outputs[tap_name(p.name)] for p in program.populations}, outputs["logits"])


def _session(program: Program, threads: int) -> Any:
    onnxruntime = require("onnxruntime", "running an ONNX model")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    model = export_onnx(program, taps=True).SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
