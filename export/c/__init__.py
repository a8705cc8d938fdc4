"""A Program as C99 that needs nothing: no allocation, no floating point, no library; and the executor that runs it."""

from .executor import CompiledC
from .source import export_c

__all__ = ["CompiledC", "export_c"]
