"""The arithmetic functions of the ONNX model against Python integers, in onnxruntime."""

from functools import cache

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from hmdf.export.onnx.functions import DOMAIN, OPSET, REACH, needed_functions

SHIFTS = [0, 1, 2, 7, 15, 16, 31, 32, 46, 47]


@cache
def session_of(function, **attributes):
    node = helper.make_node(function, ["x"], ["y"], domain=DOMAIN, **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])
    y = helper.make_tensor_value_info("y", TensorProto.INT32 if function == "Clamp" else TensorProto.INT64, ["N"])
    model = helper.make_model(
        helper.make_graph([node], function, [x], [y]),
        functions=needed_functions([node], []),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        ir_version=8,
    )
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def apply(function, values, **attributes):
    x = np.array(values, np.int64)
    return [int(v) for v in session_of(function, **attributes).run(None, {"x": x})[0]]


def edges(low, high):
    """Every power of two and its neighbours within [low, high]."""
    near = {s * (1 << k) + d for k in range(63) for s in (1, -1) for d in range(-2, 3)}
    return sorted(v for v in near | {low, high, 0} if low <= v <= high)


@pytest.mark.parametrize("shift", SHIFTS)
def test_rounding_shift_at_powers_of_two(shift):
    values = edges(-REACH, REACH - 1)
    assert apply("RoundingShift", values, shift=shift) == [(v + (1 << shift >> 1)) >> shift for v in values]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.integers(-REACH, REACH - 1), min_size=1, max_size=40), st.sampled_from(SHIFTS))
def test_rounding_shift_is_the_contracts(values, shift):
    assert apply("RoundingShift", values, shift=shift) == [(v + (1 << shift >> 1)) >> shift for v in values]


@pytest.mark.parametrize("bits", [1, 8, 16, 24, 32])
def test_clamp_at_powers_of_two(bits):
    """onnxruntime's own Clip of int64 is wrong for some of these on x86."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    values = edges(-REACH, REACH - 1)
    assert apply("Clamp", values, low=low, high=high) == [min(max(v, low), high) for v in values]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.integers(-REACH, REACH - 1), min_size=1, max_size=40), st.sampled_from([8, 24, 32]))
def test_clamp_is_the_contracts(values, bits):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    assert apply("Clamp", values, low=low, high=high) == [min(max(v, low), high) for v in values]
