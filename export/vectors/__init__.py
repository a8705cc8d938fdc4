"""Golden vectors: every integer of some samples in files, for those who write hardware; and a neuron in Verilog."""

from .testbench import suits_testbench, write_testbench
from .write import Manifest, Vectors, export_vectors

__all__ = ["Manifest", "Vectors", "export_vectors", "suits_testbench", "write_testbench"]
