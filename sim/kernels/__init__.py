"""The simulator's kernels and the plan that they walk."""

# Before any kernel is made: it may choose the processor that Numba compiles for.
from . import paths as paths
