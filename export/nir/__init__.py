"""Networks of other frameworks, from and to NIR (https://neuroir.org)."""

from .dialect import DIALECTS, Dialect, Reset, dialect_of, own_dialect
from .units import is_graph

__all__ = ["DIALECTS", "Dialect", "Reset", "dialect_of", "is_graph", "own_dialect"]
