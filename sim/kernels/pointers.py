"""Arrays as the kernels see them: bare typed pointers.

An array that is passed to a compiled function travels as seven values, and most functions here need a dozen arrays;
as pointers they compile several times faster. Whoever hands out an address keeps its array alive (workspace.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import from_dtype, types

from .compiling import intrinsic


def _pointer_to(kind):
    pointer = types.CPointer(kind)

    @intrinsic
    def at(typing_context, address):
        if address != types.int64:
            return None

        def emit(context, builder, sig, args):
            return builder.inttoptr(args[0], context.get_value_type(pointer))

        return pointer(address), emit

    return at


uint8s, int8s, int16s, int32s, int64s = (
    _pointer_to(kind) for kind in (types.uint8, types.int8, types.int16, types.int32, types.int64)
)
"""From the address of an array (int64) to a pointer to its elements."""


def rows_of(dtype: np.dtype) -> Callable[..., Any]:
    """A compiled function (address of a table, index) -> its row, with the fields of `dtype` as attributes."""
    record = from_dtype(dtype)
    size = dtype.itemsize

    @intrinsic
    def row(typing_context, address, index):
        if address != types.int64 or not isinstance(index, types.Integer):
            return None

        def emit(context, builder, sig, args):
            offset = builder.mul(context.cast(builder, args[1], sig.args[1], types.int64), args[0].type(size))
            return builder.inttoptr(builder.add(args[0], offset), context.get_value_type(record))

        return record(address, index), emit

    return row
