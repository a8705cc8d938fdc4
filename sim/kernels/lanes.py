"""Sixteen 32-bit integers at once, as a value that compiled functions work with.

`Lanes` is an LLVM vector: every processor executes it (one AVX-512 register, two of AVX2, four of NEON), and
arithmetic wraps as int32 does. `load` and `store` widen and narrow from and to the arenas' types.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.extending import lower_builtin, models, register_model
from numba.core.imputils import impl_ret_untracked
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from .compiling import intrinsic

WIDTH = 16
"""Lanes of a vector."""
_INT32 = ir.IntType(32)
VECTOR = ir.VectorType(_INT32, WIDTH)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")


LANES_TYPE = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, VECTOR)


# ------------------------------------------------------------------------------ operators


def _define_operator(operation: Callable[..., Any], emit: Callable[..., Any]) -> None:
    @infer_global(operation)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            if not kws and len(args) == 2 and all(isinstance(a, _Lanes) for a in args):
                return signature(LANES_TYPE, LANES_TYPE, LANES_TYPE)
            return None

    @lower_builtin(operation, LANES_TYPE, LANES_TYPE)
    def _lower(context, builder, sig, args):
        return impl_ret_untracked(context, builder, sig.return_type, emit(builder, *args))


_define_operator(operator.add, lambda builder, a, b: builder.add(a, b))
_define_operator(operator.sub, lambda builder, a, b: builder.sub(a, b))
_define_operator(operator.mul, lambda builder, a, b: builder.mul(a, b))
_define_operator(operator.and_, lambda builder, a, b: builder.and_(a, b))


def _binary(emit):
    """An intrinsic of two Lanes."""

    @intrinsic
    def operation(typing_context, a, b):
        if a != LANES_TYPE or b != LANES_TYPE:
            return None
        return signature(LANES_TYPE, a, b), lambda context, builder, sig, args: emit(builder, *args)

    return operation


def _mask(builder, comparison, a, b):
    return builder.sext(builder.icmp_signed(comparison, a, b), VECTOR)


smaller = _binary(lambda builder, a, b: builder.select(builder.icmp_signed("<", a, b), a, b))
"""Lane by lane, the smaller of two."""
larger = _binary(lambda builder, a, b: builder.select(builder.icmp_signed(">", a, b), a, b))
"""Lane by lane, the larger of two."""
at_least = _binary(lambda builder, a, b: _mask(builder, ">=", a, b))
"""-1 where a >= b, else 0."""
differs = _binary(lambda builder, a, b: _mask(builder, "!=", a, b))
"""-1 where a != b, else 0."""


@intrinsic
def chosen(typing_context, mask, a, b):
    """a where the mask of a comparison is -1, b where it is 0."""
    if not mask == a == b == LANES_TYPE:
        return None

    def emit(context, builder, sig, args):
        taken = builder.icmp_signed("!=", args[0], ir.Constant(VECTOR, [0] * WIDTH))
        return builder.select(taken, args[1], args[2])

    return signature(LANES_TYPE, mask, a, b), emit


@intrinsic
def splat(typing_context, x):
    """The same integer in all lanes."""
    if not isinstance(x, types.Integer):
        return None

    def emit(context, builder, sig, args):
        return _splat(builder, context.cast(builder, args[0], sig.args[0], types.int32))

    return signature(LANES_TYPE, x), emit


@intrinsic
def total(typing_context, a, lanes):
    """Sum of the first `lanes` lanes, int64."""
    if a != LANES_TYPE or not isinstance(lanes, types.Integer):
        return None

    def emit(context, builder, sig, args):
        first = _splat(builder, context.cast(builder, args[1], sig.args[1], types.int32))
        inside = builder.icmp_signed("<", ir.Constant(VECTOR, list(range(WIDTH))), first)
        kept = builder.select(inside, args[0], ir.Constant(VECTOR, [0] * WIDTH))
        name = f"llvm.vector.reduce.add.v{WIDTH}i32"
        reduce = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(_INT32, [VECTOR]), name
        )
        return builder.sext(builder.call(reduce, [kept]), ir.IntType(64))

    return signature(types.int64, a, lanes), emit


@intrinsic
def shift_right(typing_context, a, n):
    """Arithmetic shift of every lane by n, 0..31."""
    if a != LANES_TYPE or not isinstance(n, types.Integer):
        return None

    def emit(context, builder, sig, args):
        return builder.ashr(args[0], _splat(builder, context.cast(builder, args[1], sig.args[1], types.int32)))

    return signature(LANES_TYPE, a, n), emit


def _splat(builder, scalar):
    vector = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), scalar, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(vector, ir.Constant(VECTOR, ir.Undefined), ir.Constant(VECTOR, [0] * WIDTH))


# --------------------------------------------------------------------------------- memory


@intrinsic
def load(typing_context, pointer, index):
    """pointer[index : index + 16], widened to 32 bits."""
    if not isinstance(pointer, types.CPointer):
        return None

    def emit(context, builder, sig, args):
        kind = sig.args[0].dtype
        stored = ir.VectorType(context.get_data_type(kind), WIDTH)
        value = builder.load(_pointer(context, builder, sig, args, stored))
        value.align = kind.bitwidth // 8
        if kind.bitwidth == 32:
            return value
        return builder.sext(value, VECTOR) if kind.signed else builder.zext(value, VECTOR)

    return signature(LANES_TYPE, pointer, index), emit


@intrinsic
def store(typing_context, pointer, index, value):
    """pointer[index : index + 16] = value, narrowed to the type pointed to."""
    if not isinstance(pointer, types.CPointer) or value != LANES_TYPE:
        return None

    def emit(context, builder, sig, args):
        kind = sig.args[0].dtype
        stored = ir.VectorType(context.get_data_type(kind), WIDTH)
        narrow = args[2] if kind.bitwidth == 32 else builder.trunc(args[2], stored)
        builder.store(narrow, _pointer(context, builder, sig, args, stored), align=kind.bitwidth // 8)
        return context.get_dummy_value()

    return signature(types.void, pointer, index, value), emit


@intrinsic
def address(typing_context, pointer, index):
    """Address of pointer[index], for the dot products."""
    if not isinstance(pointer, types.CPointer):
        return None

    def emit(context, builder, sig, args):
        pointer = builder.gep(args[0], [context.cast(builder, args[1], sig.args[1], types.intp)])
        return builder.ptrtoint(pointer, ir.IntType(64))

    return signature(types.int64, pointer, index), emit


def _pointer(context, builder, sig, args, stored):
    index = context.cast(builder, args[1], sig.args[1], types.intp)
    return builder.bitcast(builder.gep(args[0], [index]), stored.as_pointer())
