"""The ops in C, one file each."""

from collections.abc import Callable, Mapping
from typing import Any

from hmdf.sim.contract.ops.base import BaseOp

from ..accumulate import Accumulation, Site
from . import channel_conv, conv2d, linear, max_pool, sum_pool

_FILES = (conv2d, linear, channel_conv, sum_pool, max_pool)
ACCUMULATIONS: Mapping[type[BaseOp], Callable[[Any, Site], Accumulation]] = {f.OP: f.accumulate for f in _FILES}
"""By kind, the C that computes it."""
