"""A Program as an ONNX model of standard integer operators, and the executor that runs it (docs/onnx.md)."""

# ruff: noqa: E402 - asked for before the modules that import it
from hmdf.extras import require

require("onnx", "an ONNX model")

from .model import export_onnx, save_onnx
from .runtime import OnnxRuntime

__all__ = ["OnnxRuntime", "export_onnx", "save_onnx"]
