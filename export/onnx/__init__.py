"""A Program as an ONNX model of standard integer operators, and the executor that runs it (docs/onnx.md)."""

from hmdf.sim.errors import HmdfError

try:
    import onnx  # noqa: F401 - the one place that says what to do when it is missing
except ModuleNotFoundError as missing:
    raise HmdfError('writing an ONNX model needs the package onnx: pip install "hmdf[onnx]"') from missing

from .model import export_onnx, save_onnx
from .runtime import OnnxRuntime

__all__ = ["OnnxRuntime", "export_onnx", "save_onnx"]
